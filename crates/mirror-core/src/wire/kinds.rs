//! The kind numbers of the wire, given once and never reused.
//!
//! Operations are below 0x0100, reports from 0x0100, the handshake from 0x0200.

macro_rules! kinds {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(pub const $name: u16 = $number;)*

        /// What a kind is called in messages to people; `None` for a number without meaning.
        pub fn name(kind: u16) -> Option<&'static str> {
            match kind {
                $($number => Some($text),)*
                _ => None,
            }
        }
    };
}

kinds! {
    BIND = 0x01, "bind";
    UNBIND = 0x02, "unbind";
    MAKE = 0x03, "make";
    LINK = 0x04, "link";
    UNLINK = 0x05, "unlink";
    REMOVE_DIRECTORY = 0x06, "remove directory";
    RENAME = 0x07, "rename";
    WRITE = 0x08, "write";
    TRUNCATE = 0x09, "truncate";
    ALLOCATE = 0x0a, "allocate";
    SET_ATTRIBUTES = 0x0b, "set attributes";
    SET_XATTR = 0x0c, "set xattr";
    REMOVE_XATTR = 0x0d, "remove xattr";
    SYNC = 0x0e, "sync";
    SYNC_TREE = 0x0f, "sync tree";
    MARK = 0x10, "mark";
    RESYNC_BEGIN = 0x20, "resync begin";
    ENTRIES = 0x21, "entries";
    ENTRIES_END = 0x22, "entries end";
    FILE_BEGIN = 0x23, "file begin";
    ASK_CHECKSUM = 0x24, "ask checksum";
    ZONE = 0x25, "zone";
    FILE_END = 0x26, "file end";
    DETACH = 0x27, "detach";
    ATTACH = 0x28, "attach";
    PLACE = 0x29, "place";
    RESYNC_END = 0x2a, "resync end";
    ENTRIES_SOME = 0x2b, "entries some";
    VACATE = 0x2c, "vacate";
    PING = 0x40, "ping";
    HAND_OVER = 0x41, "hand over";
    VERIFY_NAMES = 0x50, "verify names";
    VERIFY_ENTRY = 0x51, "verify entry";
    VERIFY_ITSELF = 0x52, "verify directory";
    VERIFY_ZONE = 0x53, "verify zone";
    VERIFY_TAKE_AWAY = 0x54, "take away";
    VERIFY_REPAIRED = 0x55, "repaired";
    APPLIED = 0x0100, "applied";
    SYNCED = 0x0101, "synced";
    FAILED = 0x0102, "failed";
    CHECKSUM = 0x0103, "checksum";
    GOODBYE = 0x0104, "goodbye";
    VERIFIED_NAMES = 0x0110, "verified names";
    VERIFIED_ENTRY = 0x0111, "verified entry";
    VERIFIED_ZONE = 0x0112, "verified zone";
    UNREADABLE = 0x0113, "unreadable";
    HELLO = 0x0200, "hello";
    WELCOME_RESUME = 0x0201, "welcome to resume";
    WELCOME_IN_SYNC = 0x0202, "welcome in sync";
    WELCOME_RESYNC = 0x0203, "welcome to resync";
    WELCOME_REFUSED = 0x0204, "welcome refused";
    DOUBT = 0x0205, "doubt";
    WELCOME_RESYNC_DOUBT = 0x0206, "welcome to resync what is in doubt";
}

pub fn is_operation(kind: u16) -> bool {
    kind < 0x0100
}

pub fn is_report(kind: u16) -> bool {
    (0x0100..0x0200).contains(&kind)
}
