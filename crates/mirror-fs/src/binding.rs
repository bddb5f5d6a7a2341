//! Files made known to the secondary by number, and the order in which their changes are told.
//!
//! In a resync of what is in doubt (`resync_doubt`) a file that is not in its plan is equal on both
//! sides from the beginning: under its order lock it counts as done. It can be told of only by a
//! name in a directory that is done itself. What is below another is left to the resync, which
//! lists it.

use std::io;
use std::sync::atomic::Ordering;

use mirror_core::message::Operation;
use parking_lot::MutexGuard;

use crate::engine::Engine;
use crate::mode::Mode;
use crate::progress::{Mark, Progress};
use crate::tree::{Inode, Place, Tree};

/// A file's order lock, and whether operations on it can be sent.
pub(crate) type Ordered<'i> = (MutexGuard<'i, Mark>, bool);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Yes,
    /// The resync has yet to come to where it stands.
    Later,
    /// No name leads to it.
    No,
    /// All of its names stay on this node (`excluded`).
    Local,
}

/// In a resync of what is in doubt: what it has not got in its plan is done.
fn settle(mode: &Mode, inode: &Inode, mark: &mut Mark) {
    let planned = inode.doubt_session.load(Ordering::Acquire) == mode.session;
    if mode.partial && !planned && !mark.is_of(mode.session) {
        mark.set(mode.session, Progress::Done);
    }
}

/// So deep a file may stand; the threads that bind have stacks for it (`primary::STACK_BYTES`).
const DEPTH_MAX: usize = 8192;

/// A file that is being bound, and below it those for whose sake.
///
/// What is known of names may be untrue where this node followed, and may even go round: of two
/// directories each may once have stood in the other. A name in what is being bound leads nowhere.
struct Climb<'c> {
    number: u64,
    depth: usize,
    below: Option<&'c Climb<'c>>,
}

impl<'c> Climb<'c> {
    fn to(inode: &Inode, below: Option<&'c Climb<'c>>) -> Climb<'c> {
        let depth = below.map_or(0, |climb| climb.depth + 1);
        Climb { number: inode.number(), depth, below }
    }

    fn may_go_on_to(&self, parent: &Inode) -> bool {
        let mut climb = Some(self);
        while let Some(here) = climb {
            if here.number == parent.number() {
                return false;
            }
            climb = here.below;
        }
        self.depth < DEPTH_MAX
    }
}

impl Engine {
    /// In a resync of what is in doubt: the names of files change. `new`: they are told by that.
    pub(crate) fn links_move(&self, mode: &Mode, files: &[Option<&Inode>], new: bool) {
        if !mode.partial {
            return;
        }
        if let Some(source) = &*self.source.lock() {
            files.iter().flatten().for_each(|inode| source.links.moved(inode.id, new));
        }
    }

    /// Makes the secondary know the file by its number. False: it cannot.
    pub(crate) fn bind(&self, mode: &Mode, tree: &Tree, inode: &Inode) -> bool {
        self.try_bind(mode, tree, inode, None) == Bound::Yes
    }

    fn try_bind(
        &self, mode: &Mode, tree: &Tree, inode: &Inode, below: Option<&Climb<'_>>,
    ) -> Bound {
        if mode.session == 0 || inode.bound(mode.session) {
            return Bound::Yes;
        }
        if !mode.full && !mode.partial {
            return Bound::Later;
        }
        if tree.stays_here(inode) {
            return Bound::Local;
        }
        let climb = Climb::to(inode, below);
        match self.bind_by_name(mode, tree, inode, &climb) {
            Bound::No if !tree.excludes() => Bound::No,
            Bound::No if tree.find_replicated(inode) => {
                self.bind_by_name(mode, tree, inode, &climb)
            }
            Bound::No if tree.stays_here(inode) => Bound::Local,
            bound => bound,
        }
    }

    fn bind_by_name(&self, mode: &Mode, tree: &Tree, inode: &Inode, climb: &Climb<'_>) -> Bound {
        let mut outcome = Bound::No;
        let mut lead_nowhere: Vec<Place> = Vec::new();
        let next = |lead_nowhere: &[Place]| {
            inode.places.lock().iter().find(|place| !lead_nowhere.contains(place)).cloned()
        };
        while let Some(place) = next(&lead_nowhere) {
            let parent = tree.revive(place.parent.inode()).ok();
            let parent = parent.filter(|parent| climb.may_go_on_to(parent));
            let above =
                parent.as_ref().map(|parent| self.try_bind(mode, tree, parent, Some(climb)));
            let (Some(parent), Some(Bound::Yes)) = (parent, above) else {
                if above == Some(Bound::Later) {
                    outcome = Bound::Later;
                }
                lead_nowhere.push(place);
                continue;
            };
            if tree.stays(&parent, &place.name, inode.kind) {
                lead_nowhere.push(place);
                continue;
            }
            let mut order = parent.order.lock();
            if inode.bound(mode.session) {
                return Bound::Yes;
            }
            // The kernel may have dropped the directory since, and so has the secondary: it is
            // bound again. The file may have gone to another name, and may come back to this one:
            // then this one is tried again.
            if !parent.bound(mode.session) || !inode.places.lock().contains(&place) {
                continue;
            }
            settle(mode, &parent, &mut order);
            if mode.partial && order.progress(mode.session) != Progress::Done {
                outcome = Bound::Later;
                lead_nowhere.push(place);
                continue;
            }
            if !tree.leads(&parent, &place.name, inode) {
                inode.leave(place.parent, &place.name);
                continue;
            }
            let operation =
                Operation::Bind { id: inode.id, parent: place.parent, name: &place.name };
            self.outbox.put(&operation, None);
            inode.bound_session.store(mode.session, Ordering::Release);
            return Bound::Yes;
        }
        outcome
    }

    /// Locks the order of a file that the secondary knows by its number, if it can.
    /// The second value tells whether operations on it can be sent at all.
    pub(crate) fn ordered<'i>(&self, mode: &Mode, tree: &Tree, inode: &'i Inode) -> Ordered<'i> {
        let mut again = true;
        loop {
            let nameless = inode.places.lock().is_empty();
            let known = self.try_bind(mode, tree, inode, None);
            let mut guard = inode.order.lock();
            // Asked again under the lock: a resync may have come by since.
            let bound = inode.bound(mode.session);
            let told = (mode.full || mode.partial) && mode.session != 0;
            if !bound && known == Bound::No && told {
                if nameless && again && !inode.places.lock().is_empty() {
                    // It had no name at all, and has been given one meanwhile (`unnamed`).
                    again = false;
                    continue;
                }
                self.end_if_named(tree, inode);
            }
            if bound || known != Bound::Yes || mode.session == 0 {
                if bound {
                    settle(mode, inode, &mut guard);
                }
                return (guard, bound);
            }
        }
    }

    /// A file without a name is nobody's after a take-over: its changes need not be sent. One that
    /// has a name we do not know of is another matter: rather no session than a copy that lacks it.
    fn end_if_named(&self, tree: &Tree, inode: &Inode) {
        if tree.stat(inode).is_ok_and(|stat| stat.st_nlink > 0) {
            let text = format!("no known name leads to file {:?}", inode.id);
            let _ = self.told::<()>(Err(io::Error::other(text)));
        }
    }

    /// Locks two directories, `first` having the smaller number; one lock when they are the same.
    pub(crate) fn ordered_pair<'i>(
        &self, mode: &Mode, tree: &Tree, first: &'i Inode, second: &'i Inode,
    ) -> (Ordered<'i>, Option<Ordered<'i>>) {
        loop {
            // Binding locks parents, so it is done before either lock is taken.
            let second_known = self.bind(mode, tree, second);
            let first_lock = self.ordered(mode, tree, first);
            if first.id == second.id {
                return (first_lock, None);
            }
            let mut mark = second.order.lock();
            let bound = second.bound(mode.session);
            if bound || !second_known || mode.session == 0 {
                if bound {
                    settle(mode, second, &mut mark);
                }
                return (first_lock, Some((mark, bound)));
            }
        }
    }
}
