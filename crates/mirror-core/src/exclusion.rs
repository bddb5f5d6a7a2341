//! What stays on each node for itself: the patterns of `exclude`, and what they mean.
//!
//! A pattern is about a path below the replicated directory, as in the ignore files of version
//! control: without a slash it is about a name at any depth (`*.tmp`), with one about a path from
//! the top (`logs/*.old`, `/build`), and with one at its end about directories (`cache/`). `**`
//! stands for any number of directories. `regex:` begins a regular expression that is looked for
//! in the whole path, which has no slash at its beginning. What lies in an excluded directory is
//! excluded with it, so a pattern never brings anything back.
//!
//! Names are bytes, and need not be text. A path that is longer than the system can name is judged
//! by the directories at its beginning.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::{RegexSet, RegexSetBuilder};

const REGEX: &str = "regex:";
pub const PATTERNS_MAX: usize = 64;
pub const PATTERN_BYTES_MAX: usize = 1000;
/// What a compiled regular expression may take in memory.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// A name that nobody gives a file: a pattern that matches it matches everything.
const UNLIKELY: &str = "\u{1}q\u{2}7";
const EVERYTHING: &str = "it excludes everything; name what is to stay on each node";

/// Compiled patterns. None are the usual case, and cost nothing.
#[derive(Debug, Default)]
pub struct Exclusion {
    any: bool,
    /// On the last name of a path.
    names: GlobSet,
    directory_names: GlobSet,
    /// On the whole path.
    paths: GlobSet,
    directory_paths: GlobSet,
    expressions: RegexSet,
    anchored: bool,
}

/// A pattern that means nothing; the text says why and what to write.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPattern {
    pub index: usize,
    pub text: String,
}

impl Exclusion {
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Exclusion, BadPattern> {
        let mut sets = [(); 4].map(|()| GlobSetBuilder::new());
        let mut expressions = Vec::new();
        let mut anchored = false;
        for (index, pattern) in patterns.iter().enumerate() {
            let bad = |text: String| BadPattern { index, text };
            let pattern = pattern.as_ref();
            plain(pattern, index).map_err(bad)?;
            if let Some(expression) = pattern.strip_prefix(REGEX) {
                let short = |e: regex::Error| bad(one_line(&e.to_string()));
                let compiled = compile(&[expression]).map_err(short)?;
                if compiled.is_match(UNLIKELY.as_bytes()) {
                    return Err(bad(EVERYTHING.into()));
                }
                expressions.push(expression);
                anchored = true;
                continue;
            }
            let (body, directory) = match pattern.strip_suffix('/') {
                Some(body) => (body, true),
                None => (pattern, false),
            };
            let path = body.contains('/');
            let glob = GlobBuilder::new(body.strip_prefix('/').unwrap_or(body))
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|e| bad(one_line(&e.to_string())))?;
            if glob.compile_matcher().is_match(UNLIKELY) {
                return Err(bad(EVERYTHING.into()));
            }
            anchored |= path;
            sets[usize::from(path) * 2 + usize::from(directory)].add(glob);
        }
        let whole = |text: String| BadPattern { index: 0, text: one_line(&text) };
        let [names, directory_names, paths, directory_paths] = sets.map(|set| set.build());
        let set = |built: Result<GlobSet, globset::Error>| built.map_err(|e| whole(e.to_string()));
        Ok(Exclusion {
            any: !patterns.is_empty(),
            names: set(names)?,
            directory_names: set(directory_names)?,
            paths: set(paths)?,
            directory_paths: set(directory_paths)?,
            expressions: compile(&expressions).map_err(|e| whole(e.to_string()))?,
            anchored,
        })
    }

    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// Does what a pattern says depend on where a directory stands? Then renaming one may change
    /// what is excluded in it.
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// Is this path, or a directory that it lies in, excluded? Without a slash at its beginning.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        if !self.any {
            return false;
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| &path[..at]).any(|outer| self.matches(outer, true))
            || self.matches(path, is_directory)
    }

    /// As `excludes`, of a name in a directory that is itself not excluded.
    pub fn excludes_in(&self, directory: &[u8], name: &[u8], is_directory: bool) -> bool {
        self.any && self.matches(&joined(directory, name), is_directory)
    }

    /// By its name alone, wherever it stands.
    pub fn excludes_name(&self, name: &[u8], is_directory: bool) -> bool {
        let name = OsStr::from_bytes(name);
        self.any
            && (self.names.is_match(name) || is_directory && self.directory_names.is_match(name))
    }

    fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if path.is_empty() {
            return false;
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let os = OsStr::from_bytes(path);
        self.excludes_name(name, is_directory)
            || self.paths.is_match(os)
            || is_directory && self.directory_paths.is_match(os)
            || self.expressions.is_match(path)
    }
}

/// The path of a name in a directory.
pub fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn compile(expressions: &[&str]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(expressions)
        .dot_matches_new_line(true)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
}

/// What no pattern may be, whatever its kind.
fn plain(pattern: &str, index: usize) -> Result<(), String> {
    if index >= PATTERNS_MAX {
        return Err(format!("there are more than {PATTERNS_MAX}; write fewer, wider ones"));
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("it is longer than {PATTERN_BYTES_MAX} bytes"));
    }
    if pattern.contains('\0') {
        return Err("no path has a zero byte".into());
    }
    match pattern {
        "" | REGEX => Err("it is empty; write what is to stay on each node, such as *.tmp".into()),
        "/" => Err(EVERYTHING.into()),
        _ if pattern.starts_with('!') => {
            Err("a pattern cannot bring something back; exclude less instead".into())
        }
        _ if pattern.starts_with("./") || pattern.contains("../") || pattern.contains("//") => {
            Err("it is not written plainly; write it from the top of the directory".into())
        }
        _ => Ok(()),
    }
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(patterns: &[&str], path: &str) -> bool {
        let (path, directory) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        Exclusion::new(patterns).unwrap().excludes(path.as_bytes(), directory)
    }

    #[test]
    fn a_pattern_means_what_an_administrator_expects() {
        let table = [
            // pattern, what it excludes, what it does not
            ("*.tmp", vec!["a.tmp", "x/y/a.tmp", "x/d.tmp/in/it"], vec!["a.tmpl", "tmp"]),
            (
                "cache/",
                vec!["cache/", "a/cache/", "cache/x", "a/cache/x/y"],
                vec!["cache", "caches/"],
            ),
            ("/build", vec!["build", "build/", "build/x"], vec!["a/build", "builds"]),
            ("logs/*.old", vec!["logs/a.old"], vec!["logs/a/b.old", "x/logs/a.old", "a.old"]),
            ("logs/**/*.old", vec!["logs/a.old", "logs/a/b.old"], vec!["x/logs/a.old"]),
            ("a/**", vec!["a/b", "a/b/c"], vec!["a", "a/"]),
            ("run-?.[0-9]", vec!["run-a.1", "x/run-b.7"], vec!["run-.1", "run-a.x"]),
            ("{a,b}.lock", vec!["a.lock", "x/b.lock"], vec!["c.lock"]),
            (r"a\*b", vec!["a*b"], vec!["axb"]),
            (r"regex:^logs/.*\.old$", vec!["logs/a/b.old"], vec!["x/logs/a.old", "logs/a.old2"]),
            (r"regex:(^|/)core\.\d+$", vec!["core.12", "a/core.3"], vec!["score.1", "core.x"]),
            (r"regex:^data$", vec!["data", "data/", "data/inside/it"], vec!["data2"]),
        ];
        for (pattern, yes, no) in table {
            for path in yes {
                assert!(excluded(&[pattern], path), "{pattern} does not exclude {path}");
            }
            for path in no {
                assert!(!excluded(&[pattern], path), "{pattern} excludes {path}");
            }
        }
    }

    #[test]
    fn any_of_several_is_enough_and_none_excludes_nothing() {
        assert!(excluded(&["*.a", "/b", "regex:c$"], "xc"));
        assert!(!excluded(&[], "x.tmp"));
        assert!(Exclusion::default().is_empty());
        assert!(!excluded(&["*.a"], ""));
    }

    #[test]
    fn names_need_not_be_text() {
        let exclusion = Exclusion::new(&["*.tmp", "regex:^logs/.*x$"]).unwrap();
        assert!(exclusion.excludes(b"\xff\xfe.tmp", false));
        assert!(exclusion.excludes(b"line\nbreak.tmp", false));
        assert!(exclusion.excludes(b"logs/a\nx", false));
        assert!(exclusion.excludes_in(b"a/b", b"c.tmp", false));
        assert!(!exclusion.excludes_in(b"", b"c.txt", false));
    }

    #[test]
    fn only_some_patterns_depend_on_the_place_of_a_directory() {
        let anchored = |pattern| Exclusion::new(&[pattern]).unwrap().is_anchored();
        assert!(!anchored("*.tmp") && !anchored("cache/"));
        assert!(anchored("logs/*.old") && anchored("/x") && anchored("regex:x"));
        let exclusion = Exclusion::new(&["*.tmp", "d/", "/x", "regex:^y"]).unwrap();
        assert!(exclusion.excludes_name(b"a.tmp", false) && exclusion.excludes_name(b"d", true));
        assert!(!exclusion.excludes_name(b"x", false) && !exclusion.excludes_name(b"y", true));
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_place() {
        for (patterns, index, words) in [
            (vec!["*.tmp", ""], 1, "empty"),
            (vec!["regex:"], 0, "empty"),
            (vec!["*"], 0, "everything"),
            (vec!["**/"], 0, "everything"),
            (vec!["/?*"], 0, "everything"),
            (vec!["regex:.*"], 0, "everything"),
            (vec!["!keep"], 0, "bring something back"),
            (vec!["a/../b"], 0, "plainly"),
            (vec!["a", "[x"], 1, "class"),
            (vec!["regex:("], 0, "unclosed"),
            (vec!["a\0b"], 0, "zero byte"),
            (vec!["regex:(a{1000}){1000}"], 0, "size"),
        ] {
            let error = Exclusion::new(&patterns).unwrap_err();
            assert_eq!(error.index, index, "{patterns:?}");
            assert!(error.text.contains(words), "{patterns:?}: {}", error.text);
            assert!(!error.text.contains('\n'));
        }
        assert_eq!(Exclusion::new(&["a"; PATTERNS_MAX + 1]).unwrap_err().index, PATTERNS_MAX);
    }
}
