#!/bin/sh
# Stand-in for K3s's installer: records what it is told in /var/lib/vm-k3s-told, and leaves the unit
# and the kubeconfig where K3s's own would be.
set -eu
{ env | grep '^INSTALL_K3S' | sort; echo "$*"; } >/var/lib/vm-k3s-told
mkdir -p /etc/rancher/k3s
umask 077
cat >/etc/rancher/k3s/k3s.yaml <<EOF
clusters: [{name: d, cluster: {server: "http://127.0.0.1:6443"}}]
contexts: [{name: d, context: {cluster: d, user: d}}]
users: [{name: d, user: {token: none}}]
current-context: d
EOF
umask 022
cat >/etc/systemd/system/k3s.service <<EOF
[Unit]
Description=Stand-in for K3s: kine with K3s's datastore settings
After=network-online.target

[Service]
ExecStart=/usr/local/bin/k3s server
Restart=always
RestartSec=5s

[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl enable -q --now k3s.service
