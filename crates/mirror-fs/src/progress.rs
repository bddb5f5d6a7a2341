//! How far a resync has come with one file, and what that means for a change to it.
//!
//! A resync copies while the application writes. For each file it is known, under the file's
//! order lock, how much of it the secondary already has. A change to what it has is sent; a change
//! to what is still to be copied is not, because the copy will carry it. So nothing stale can land
//! on something new, and nothing is copied twice.

/// How far the running session has come with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Progress {
    /// The secondary has nothing of it that may be relied on.
    #[default]
    Untouched,
    /// Contents below `cursor` are equal. `trust`: checksums asked for beyond it are still true.
    Copying { cursor: u64, trust: bool },
    /// Names (of a directory), contents and attributes are equal.
    Done,
}

/// A file's progress, and the session it belongs to: in another session it means nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    session: u64,
    progress: Progress,
}

/// What is to be sent of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Send {
    All,
    Nothing,
    /// Only what lies below this offset.
    Below(u64),
}

impl Send {
    /// What is to be sent of `data`, which was written at `offset`.
    pub fn part(self, offset: u64, data: &[u8]) -> &[u8] {
        match self {
            Send::All => data,
            Send::Nothing => &data[..0],
            Send::Below(end) => &data[..data.len().min(end.saturating_sub(offset) as usize)],
        }
    }
}

impl Mark {
    pub fn progress(&self, session: u64) -> Progress {
        if self.session == session {
            self.progress
        } else {
            Progress::Untouched
        }
    }

    pub fn set(&mut self, session: u64, progress: Progress) {
        self.session = session;
        self.progress = progress;
    }

    /// For a write of the range that begins at `offset`.
    pub fn for_write(&self, session: u64, offset: u64) -> Send {
        match self.progress(session) {
            Progress::Untouched => Send::Nothing,
            Progress::Copying { cursor, .. } if offset >= cursor => Send::Nothing,
            Progress::Copying { cursor, .. } => Send::Below(cursor),
            Progress::Done => Send::All,
        }
    }

    /// For a change of size or of allocated space: these are sent while the file is copied too,
    /// and make the secondary's earlier checksums worthless.
    pub fn for_layout(&mut self, session: u64) -> Send {
        match self.progress(session) {
            Progress::Untouched => Send::Nothing,
            Progress::Copying { cursor, .. } => {
                self.set(session, Progress::Copying { cursor, trust: false });
                Send::All
            }
            Progress::Done => Send::All,
        }
    }

    /// For owner, mode, times and extended attributes, which are copied last.
    pub fn for_attributes(&self, session: u64) -> Send {
        match self.progress(session) {
            Progress::Done => Send::All,
            _ => Send::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_another_session_means_nothing() {
        let mut mark = Mark::default();
        mark.set(7, Progress::Done);
        assert_eq!(mark.for_write(7, 0), Send::All);
        assert_eq!(mark.for_write(8, 0), Send::Nothing);
        assert_eq!(mark.for_attributes(8), Send::Nothing);
    }

    #[test]
    fn a_write_beyond_the_cursor_is_left_to_the_copy() {
        let mut mark = Mark::default();
        mark.set(1, Progress::Copying { cursor: 4096, trust: true });
        assert_eq!(mark.for_write(1, 4096), Send::Nothing);
        assert_eq!(mark.for_write(1, 4095), Send::Below(4096));
    }

    #[test]
    fn a_truncation_makes_earlier_checksums_worthless() {
        let mut mark = Mark::default();
        mark.set(1, Progress::Copying { cursor: 10, trust: true });
        assert_eq!(mark.for_layout(1), Send::All);
        assert_eq!(mark.progress(1), Progress::Copying { cursor: 10, trust: false });
    }
}
