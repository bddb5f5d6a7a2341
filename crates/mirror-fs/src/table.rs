//! The table of a tree's files in use, awake and at rest.
//!
//! What is in hand stands in the table as itself (`Inode`). What nobody has in hand, but the kernel
//! may ask for again or a running resync has to know of, is put to rest: packed into some forty
//! bytes, from which the same file wakes when it is asked for. So a million files that an
//! application has looked at, or a resync has been through, cost tens of MiB and not a GiB.
//!
//! Only what nobody else holds is put to rest, looked at under the table's lock, through which
//! alone others come by it: so there are never two of one file. What a file at rest knows of a
//! session is a bit, and means the session that `begin_session` named last (`at_rest`).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::FileKind;
use mirror_core::packed::Packed;
use mirror_core::units::{FileId, ROOT_INODE};

use crate::at_rest::{handle_of, lookups_of, put_to_rest, wake, BOUND, DOUBT, OF_SESSION};
use crate::forgotten::Forgotten;
use crate::tree::{Inode, Tree};

/// With so many awake, those that can are put to rest.
const AWAKE_MAX: usize = 16_384;

/// A file that a listing told of; its place in the queue of the resync.
pub struct Listed {
    pub id: FileId,
    pub kind: FileKind,
    pub identity: u64,
}

pub struct Table {
    tree: u8,
    awake: HashMap<u64, Arc<Inode>>,
    rest: Packed,
    session: u64,
    /// While a resync runs nothing is dropped: it remembers by this table what is done.
    pub keep_all: bool,
    sweep_at: usize,
}

impl Table {
    pub fn new(tree: u8) -> Table {
        Table {
            tree,
            awake: HashMap::new(),
            rest: Packed::default(),
            session: 0,
            keep_all: false,
            sweep_at: AWAKE_MAX,
        }
    }

    pub fn get(&mut self, number: u64) -> Option<Arc<Inode>> {
        if let Some(inode) = self.awake.get(&number) {
            return Some(inode.clone());
        }
        let inode = Arc::new(wake(self.tree, self.session, number, self.rest.get(number)?)?);
        self.rest.remove(number);
        self.insert(inode.clone());
        Some(inode)
    }

    /// Puts a file in, in place of another one of that number.
    pub fn insert(&mut self, inode: Arc<Inode>) {
        self.rest.remove(inode.number());
        self.awake.insert(inode.number(), inode);
        if self.awake.len() >= self.sweep_at {
            self.sweep();
        }
    }

    /// One lookup more of a file that was found. If the table has another one under its number, it
    /// has met that one later: then what was found is gone, and must not come back in its place.
    pub fn count_lookup(&mut self, found: Arc<Inode>) -> Arc<Inode> {
        let inode = match self.get(found.number()) {
            Some(inode) => inode,
            None => {
                self.insert(found.clone());
                found
            }
        };
        inode.lookups.fetch_add(1, Ordering::Relaxed);
        inode.looked_up.store(true, Ordering::Relaxed);
        inode
    }

    fn sweep(&mut self) {
        let (rest, session) = (&mut self.rest, self.session);
        self.awake.retain(|_, inode| !put_to_rest(rest, inode, session, 1));
        self.sweep_at = AWAKE_MAX.max(2 * self.awake.len());
    }

    /// Takes a file out, if it is this one.
    pub fn remove(&mut self, inode: &Arc<Inode>) {
        if self.is(inode) {
            self.awake.remove(&inode.number());
        }
    }

    /// Is this the file that the table has under its number?
    pub fn is(&self, inode: &Arc<Inode>) -> bool {
        self.awake.get(&inode.number()).is_some_and(|known| Arc::ptr_eq(known, inode))
    }

    /// The caller is done with it: puts it to rest unless somebody else has it in hand.
    pub fn rest(&mut self, inode: Arc<Inode>) {
        if self.is(&inode) && put_to_rest(&mut self.rest, &inode, self.session, 2) {
            self.awake.remove(&inode.number());
        }
    }

    /// All numbers, whether awake or at rest.
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.awake.keys().copied().collect();
        self.rest.for_each(|number, _| numbers.push(number));
        numbers
    }

    pub fn begin_session(&mut self, session: u64, keep_all: bool) {
        if self.session != session {
            self.rest.retain(|_, bytes| {
                bytes[0] &= !OF_SESSION;
                true
            });
        }
        self.session = session;
        self.keep_all = keep_all;
    }

    /// The resync is over: what it alone knew of goes.
    pub fn end_resync(&mut self, forgotten: &mut Forgotten) {
        self.keep_all = false;
        self.awake.retain(|number, inode| {
            let keep = *number == ROOT_INODE || !inode.unused();
            if !keep {
                forgotten.remember_met(inode);
            }
            keep
        });
        let (tree, session) = (self.tree, self.session);
        self.rest.retain(|number, bytes| {
            let keep = lookups_of(bytes) > 0;
            if !keep {
                if let Some(inode) = wake(tree, session, number, bytes) {
                    forgotten.remember_met(&inode);
                }
            }
            keep
        });
        self.awake.shrink_to(AWAKE_MAX);
    }

    /// A listing with these files stands in the stream: the secondary knows them by number, unless
    /// the number means another file by now; and they are to be looked at.
    pub fn bind(&mut self, listed: &[Listed], session: u64) {
        for file in listed {
            let number = file.id.inode();
            if let Some(inode) = self.awake.get(&number) {
                if inode.handle.short() == file.identity {
                    inode.doubt_session.store(session, Ordering::Release);
                    inode.bound_session.store(session, Ordering::Release);
                }
            } else if session == self.session {
                let same = |bytes: &[u8]| {
                    handle_of(bytes).is_some_and(|(handle, _)| handle.short() == file.identity)
                };
                if let Some(bytes) = self.rest.get_mut(number).filter(|bytes| same(bytes)) {
                    bytes[0] |= BOUND | DOUBT;
                }
            }
        }
    }

    /// The numbers that nobody needs the secondary to know; it is about to be told.
    pub fn unbind_unused(&mut self, session: u64) -> Vec<FileId> {
        let mut ids = Vec::new();
        for inode in self.awake.values() {
            if inode.unused() && inode.bound(session) && !inode.id.is_root() {
                inode.bound_session.store(0, Ordering::Release);
                ids.push(inode.id);
            }
        }
        let tree = self.tree;
        if session == self.session {
            self.rest.retain(|number, bytes| {
                if bytes[0] & BOUND != 0 && lookups_of(bytes) == 0 {
                    bytes[0] &= !BOUND;
                    ids.push(FileId::new(tree, number));
                }
                true
            });
        }
        ids
    }
}

impl Tree {
    /// The caller is done with a file for now.
    pub fn rest(&self, inode: Arc<Inode>) {
        self.table.lock().rest(inode);
    }

    /// The numbers of all files in the table.
    pub fn numbers(&self) -> Vec<u64> {
        self.table.lock().numbers()
    }

    /// `keep_all`: with a resync, during which entries survive being forgotten (it remembers by
    /// them what is done).
    pub fn begin_session(&self, session: u64, keep_all: bool) {
        self.table.lock().begin_session(session, keep_all);
    }

    pub fn end_resync(&self) {
        self.table.lock().end_resync(&mut self.forgotten.lock());
    }

    pub fn bind_listed(&self, listed: &[Listed], session: u64) {
        self.table.lock().bind(listed, session);
    }

    pub fn unbind_unused(&self, session: u64) -> Vec<FileId> {
        self.table.lock().unbind_unused(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use crate::sys::Handle;

    fn file(number: u64) -> Arc<Inode> {
        let handle = Handle::new(1, &number.to_le_bytes()).unwrap();
        Arc::new(Inode::new(FileId::new(3, number), handle, FileKind::Regular))
    }

    #[test]
    fn a_file_wakes_as_it_was() {
        let mut table = Table::new(3);
        table.begin_session(77, true);
        let inode = file(500);
        inode.lookups.store(300, Ordering::Relaxed);
        inode.arrive(FileId::root(3), b"name");
        inode.arrive(FileId::new(3, 70_000), b"other");
        inode.bound_session.store(77, Ordering::Relaxed);
        inode.doubt_session.store(77, Ordering::Relaxed);
        inode.looked_up.store(true, Ordering::Relaxed);
        inode.local.store(true, Ordering::Relaxed);
        inode.order.lock().set(77, Progress::Done);
        let places = inode.places.lock().clone();
        table.insert(inode.clone());
        table.rest(inode);
        assert!(table.awake.is_empty() && table.rest.len() == 1);
        let woken = table.get(500).unwrap();
        assert!(table.rest.is_empty());
        assert!(woken.handle == file(500).handle && woken.id == FileId::new(3, 500));
        assert_eq!(woken.lookups.load(Ordering::Relaxed), 300);
        assert_eq!(*woken.places.lock(), places);
        assert!(woken.bound(77) && woken.doubt_session.load(Ordering::Relaxed) == 77);
        assert!(woken.local.load(Ordering::Relaxed) && woken.looked_up.load(Ordering::Relaxed));
        assert_eq!(woken.order.lock().progress(77), Progress::Done);
        assert!(woken.order.lock().is_of(77));
    }

    #[test]
    fn a_file_of_which_nothing_is_known_wakes_as_such() {
        let mut table = Table::new(3);
        table.begin_session(77, true);
        let inode = file(500);
        inode.arrive(FileId::root(3), b"name");
        table.insert(inode.clone());
        table.rest(inode);
        let woken = table.get(500).unwrap();
        assert!(!woken.bound(77) && woken.doubt_session.load(Ordering::Relaxed) != 77);
        assert!(!woken.local.load(Ordering::Relaxed) && !woken.looked_up.load(Ordering::Relaxed));
        assert!(!woken.order.lock().is_of(77));
        assert_eq!(woken.places.lock().len(), 1, "by its name it is told of");
        woken.arrive(FileId::root(3), b"name");
        assert_eq!(woken.places.lock().len(), 1);
    }

    #[test]
    fn what_somebody_holds_or_is_being_copied_stays_awake() {
        let mut table = Table::new(3);
        table.begin_session(77, true);
        let (held, copied, open) = (file(1000), file(1001), file(1002));
        copied.order.lock().set(77, Progress::Copying { layout: 0, moved: 0 });
        open.opens.store(1, Ordering::Relaxed);
        let second_hand = held.clone();
        for inode in [held, copied, open] {
            table.insert(inode.clone());
            table.rest(inode);
        }
        assert!(table.rest.is_empty());
        drop(second_hand);
        let held = table.get(1000).unwrap();
        table.rest(held);
        assert_eq!(table.rest.len(), 1);
    }

    /// Two of one file would each count on by itself, and so would one that went to rest while
    /// somebody still had it in hand.
    #[test]
    fn there_are_never_two_of_one_file() {
        const ROUNDS: u64 = 5000;
        let table = parking_lot::Mutex::new(Table::new(3));
        (1000..1003).for_each(|number| table.lock().insert(file(number)));
        std::thread::scope(|scope| {
            for hand in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let inode = table.lock().get(1000 + round % 3).unwrap();
                        let order = inode.order.lock();
                        let before = inode.lookups.load(Ordering::Relaxed);
                        inode.lookups.store(before + 1, Ordering::Relaxed);
                        drop(order);
                        match (round + hand) % 4 {
                            0 => drop(inode),
                            1 => table.lock().sweep(),
                            _ => table.lock().rest(inode),
                        }
                    }
                });
            }
        });
        let counted = (1000..1003).map(|number| table.lock().get(number).unwrap());
        let counted: u64 = counted.map(|inode| inode.lookups.load(Ordering::Relaxed)).sum();
        assert_eq!(counted, 4 * ROUNDS);
    }

    #[test]
    fn what_is_gone_does_not_come_back_in_place_of_what_has_its_number() {
        let mut table = Table::new(3);
        let (found, handle) = (file(500), Handle::new(1, b"its successor").unwrap());
        table.insert(found.clone());
        let lives = Inode::new(found.id, handle, FileKind::Directory);
        table.insert(Arc::new(lives));
        assert!(table.count_lookup(found).handle == handle);
        let inode = table.get(500).unwrap();
        assert!(inode.handle == handle && inode.lookups.load(Ordering::Relaxed) == 1);
    }

    #[test]
    fn in_another_session_nothing_is_bound_or_done() {
        let mut table = Table::new(3);
        table.begin_session(77, true);
        let inode = file(500);
        inode.bound_session.store(77, Ordering::Relaxed);
        inode.doubt_session.store(77, Ordering::Relaxed);
        inode.order.lock().set(77, Progress::Done);
        table.insert(inode.clone());
        table.rest(inode);
        table.begin_session(78, true);
        let woken = table.get(500).unwrap();
        assert!(!woken.bound(77) && !woken.bound(78) && !woken.order.lock().is_of(78));
        assert_ne!(woken.doubt_session.load(Ordering::Relaxed), 78);
        assert_eq!(woken.order.lock().progress(78), Progress::Untouched);
    }

    #[test]
    fn a_listing_binds_the_file_it_told_of_and_no_other() {
        let mut table = Table::new(3);
        table.begin_session(77, true);
        for number in [500, 501] {
            table.insert(file(number));
            let inode = table.get(number).unwrap();
            table.rest(inode);
        }
        let listed = |number: u64, identity: u64| Listed {
            id: FileId::new(3, number),
            kind: FileKind::Regular,
            identity,
        };
        let right = listed(500, file(500).handle.short());
        table.bind(&[right, listed(501, 4711)], 77);
        let bound = table.get(500).unwrap();
        assert!(bound.bound(77) && bound.doubt_session.load(Ordering::Relaxed) == 77);
        assert!(!table.get(501).unwrap().bound(77));
        assert_eq!(table.unbind_unused(77), [FileId::new(3, 500)]);
    }

    #[test]
    fn many_go_to_rest_by_themselves() {
        let mut table = Table::new(3);
        for number in 1000..1000 + 3 * AWAKE_MAX as u64 {
            table.insert(file(number));
        }
        assert!(table.awake.len() <= AWAKE_MAX);
        assert_eq!(table.numbers().len(), 3 * AWAKE_MAX);
        table.end_resync(&mut Forgotten::new(10));
        assert!(table.numbers().is_empty());
    }
}
