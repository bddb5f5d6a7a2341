//! `mirror.json`: the example of the interface is read, every mistake is one sentence.

use mirror_fs::config::{self, Config, SyncPolicy};
use serde_json::{json, Value};

/// The example of docs/internals/interfaces.md, taken from the page itself.
fn example() -> Value {
    let page = include_str!("../../../docs/internals/interfaces.md");
    let from = page.find("{\"module\": \"files\", \"cluster\"").expect("the page has the example");
    let end = from + page[from..].find("```").expect("the example ends");
    serde_json::from_str(&page[from..end]).expect("the example is JSON")
}

fn parse(value: &Value) -> Result<Config, String> {
    config::parse(&value.to_string()).map_err(|e| e.to_string())
}

fn refusal_of(field: &str, value: Value) -> String {
    let mut config = example();
    config["cluster"] = json!("9f0c");
    config[field] = value;
    parse(&config).expect_err("must be refused")
}

#[test]
fn the_example_of_the_interface_is_read() {
    let mut example = example();
    example["cluster"] = json!("9f0c6d2e-0000-4000-8000-000000000001");
    let config = parse(&example).expect("the documented example");
    assert_eq!((config.module.as_str(), config.node.as_str()), ("files", "a"));
    assert_eq!(config.sync, SyncPolicy::Write);
    assert_eq!(config.trees[0].path.to_str(), Some("/srv/files"));
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.resync_limit_bytes_per_s, None);
    let name = config.certificate_name("b");
    assert_eq!(name, "b.9f0c6d2e-0000-4000-8000-000000000001.twofold");
}

#[test]
fn mistakes_are_sentences_that_name_the_field() {
    let cases = [
        ("surprise", json!(1), "unknown field `surprise`"),
        ("node", json!("b"), "`node` and `peer` are both \"b\""),
        ("node", json!("../x"), "`node` is \"../x\""),
        ("module", json!(""), "`module` is \"\""),
        ("trees", json!([]), "`trees` names 0 directories"),
        ("trees", json!([{"path": "srv"}]), "`trees` is \"srv\"; an absolute path"),
        ("trees", json!([{"path": "/a/../b"}]), "an absolute path without `..`"),
        ("trees", json!([{"path": "/a"}, {"path": "/a/"}]), "twice"),
        ("trees", json!([{"path": "/a/b/c"}, {"path": "/a"}]), "/a/b/c, which lies in /a"),
        ("trees", json!([{"path": "/a", "mode": 1}]), "unknown field `mode`"),
        ("listen", json!([]), "`listen` names no address"),
        ("listen", json!(["here:9100"]), "socket address"),
        ("sync", json!("never"), "unknown variant `never`, expected `write` or `fsync`"),
        ("peer_timeout_ms", json!(5), "`peer_timeout_ms` is 5; it must be between 100 and 600000"),
        ("resync_limit_bytes_per_s", json!(0), "no resync would ever end"),
        ("state_dir", json!("var"), "`state_dir`"),
    ];
    for (field, value, expected) in cases {
        let text = refusal_of(field, value.clone());
        assert!(text.contains(expected), "{field} = {value}: {text}");
        assert!(text.ends_with('.') && !text.contains('\n'), "one sentence: {text}");
    }
}

#[test]
fn siblings_with_a_common_beginning_are_not_nested() {
    let mut config = example();
    config["cluster"] = json!("9f0c");
    config["trees"] = json!([{"path": "/srv/data"}, {"path": "/srv/data2"}, {"path": "/srv/a b"}]);
    assert_eq!(parse(&config).expect("three directories").trees.len(), 3);
}

#[test]
fn a_missing_file_is_named() {
    let text = config::load("/nonexistent/mirror.json".as_ref()).expect_err("no file").to_string();
    assert!(text.starts_with("/nonexistent/mirror.json cannot be read: "), "{text}");
}
