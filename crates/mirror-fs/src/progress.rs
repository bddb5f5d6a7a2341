//! How far a resync has come with one file, and what that means for a change to it.
//!
//! A resync copies while the application writes. For each file it is known, under the file's order
//! lock, whether the secondary has it, is getting it, or has nothing of it. A change to a file that
//! is not begun is not sent: the copy will carry it. From the beginning of its copy on, every
//! change to its contents is sent.
//!
//! That makes the order in which its zones are compared free. Take a byte of a zone whose checksum
//! the secondary gave at one moment and this node compares at another: if a change to the byte lies
//! between the two, in the one order that the stream and this node share, the secondary gets or has
//! that change too, and the last change decides on both sides; if none does, equal checksums mean
//! equal bytes. So comparing needs no lock. Only what is *sent* is read under the order lock, or
//! something stale could land on something new.
//!
//! The exception are operations that move data within the file: what was compared has moved with
//! them, what was not is elsewhere now. Then the file begins again.

/// How far the running session has come with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Progress {
    /// The secondary has nothing of it that may be relied on.
    #[default]
    Untouched,
    /// Its contents are being compared. `layout` counts changes of size and allocated space: a
    /// checksum asked for before one is not believed. `moved` counts those that moved data.
    Copying { layout: u32, moved: u32 },
    /// Names (of a directory), contents and attributes are equal.
    Done,
}

/// A file's progress, and the session it belongs to: in another session it means nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    session: u64,
    progress: Progress,
}

/// Whether a change is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Send {
    All,
    Nothing,
}

impl Mark {
    pub fn progress(&self, session: u64) -> Progress {
        if self.session == session {
            self.progress
        } else {
            Progress::Untouched
        }
    }

    /// Something is known of the file in this session.
    pub fn is_of(&self, session: u64) -> bool {
        self.session == session
    }

    pub fn set(&mut self, session: u64, progress: Progress) {
        self.session = session;
        self.progress = progress;
    }

    /// For a write.
    pub fn for_write(&self, session: u64) -> Send {
        match self.progress(session) {
            Progress::Untouched => Send::Nothing,
            Progress::Copying { .. } | Progress::Done => Send::All,
        }
    }

    /// For a change of size or of allocated space; `moves`: one that moves data within the file.
    pub fn for_layout(&mut self, session: u64, moves: bool) -> Send {
        if let Progress::Copying { layout, moved } = self.progress(session) {
            let (layout, moved) = (layout.wrapping_add(1), moved.wrapping_add(u32::from(moves)));
            self.set(session, Progress::Copying { layout, moved });
        }
        self.for_write(session)
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
        assert_eq!(mark.for_write(7), Send::All);
        assert_eq!(mark.for_write(8), Send::Nothing);
        assert_eq!(mark.for_attributes(8), Send::Nothing);
    }

    #[test]
    fn a_write_is_sent_from_the_beginning_of_the_copy_on() {
        let mut mark = Mark::default();
        assert_eq!(mark.for_write(1), Send::Nothing);
        mark.set(1, Progress::Copying { layout: 0, moved: 0 });
        assert_eq!(mark.for_write(1), Send::All);
        assert_eq!(mark.for_attributes(1), Send::Nothing);
    }

    #[test]
    fn a_change_of_layout_is_counted_while_the_file_is_copied() {
        let mut mark = Mark::default();
        assert_eq!(mark.for_layout(1, true), Send::Nothing);
        assert_eq!(mark.progress(1), Progress::Untouched);
        mark.set(1, Progress::Copying { layout: 0, moved: 0 });
        assert_eq!(mark.for_layout(1, false), Send::All);
        assert_eq!(mark.for_layout(1, true), Send::All);
        assert_eq!(mark.progress(1), Progress::Copying { layout: 2, moved: 1 });
    }
}
