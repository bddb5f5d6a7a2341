//! What the numbers of the primary mean on a secondary: from number to handle and back. In a
//! resync every file of the trees is in here, so it is packed.

use mirror_core::packed::Packed;
use mirror_core::units::FileId;

use crate::sys::Handle;

#[derive(Default)]
pub struct Known {
    handles: Packed,
    /// By `Handle::short`. Of two handles that have the same, the one that came last is found.
    numbers: Packed,
}

impl Known {
    pub fn get(&self, id: &FileId) -> Option<Handle> {
        Handle::unpack(self.handles.get(id.0)?)
    }

    pub fn contains_key(&self, id: &FileId) -> bool {
        self.handles.contains(id.0)
    }

    /// Returns what the number meant before.
    pub fn insert(&mut self, id: FileId, handle: Handle) -> Option<Handle> {
        let before = self.remove(&id);
        // Room ends at a hundred million files; then the number is unknown, which ends the session.
        let _ = self.handles.insert(id.0, &handle.pack())
            && self.numbers.insert(handle.short(), &id.0.to_le_bytes());
        before
    }

    pub fn remove(&mut self, id: &FileId) -> Option<Handle> {
        let handle = self.get(id)?;
        self.handles.remove(id.0);
        if self.number(handle.short()) == Some(*id) {
            self.numbers.remove(handle.short());
        }
        Some(handle)
    }

    fn number(&self, short: u64) -> Option<FileId> {
        let bytes = self.numbers.get(short)?;
        Some(FileId(u64::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// The number of a file, by its handle.
    pub fn number_of(&self, handle: &Handle) -> Option<FileId> {
        let id = self.number(handle.short())?;
        (self.get(&id) == Some(*handle)).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(number: u8) -> Handle {
        Handle::new(1, &[number, 0, 0, 0, 9, 9, 9, 9]).unwrap()
    }

    #[test]
    fn a_number_leads_to_a_handle_and_back() {
        let mut known = Known::default();
        let (one, two) = (FileId::new(0, 11), FileId::new(1, 11));
        assert!(known.insert(one, handle(1)).is_none());
        assert!(known.insert(two, handle(2)).is_none());
        assert!(known.number_of(&handle(1)) == Some(one));
        assert!(known.insert(one, handle(3)) == Some(handle(1)));
        assert!(known.number_of(&handle(1)).is_none());
        assert!(known.number_of(&handle(3)) == Some(one));
        assert!(known.remove(&one) == Some(handle(3)));
        assert!(known.number_of(&handle(3)).is_none() && !known.contains_key(&one));
        assert!(known.get(&two) == Some(handle(2)));
    }

    #[test]
    fn a_file_under_two_numbers_is_found_by_the_last() {
        let mut known = Known::default();
        let (old, new) = (FileId::new(0, 11), FileId::new(0, 12));
        known.insert(old, handle(1));
        known.insert(new, handle(1));
        assert!(known.number_of(&handle(1)) == Some(new));
        known.remove(&old);
        assert!(known.number_of(&handle(1)) == Some(new));
    }
}
