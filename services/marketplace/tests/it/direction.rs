//! One direction: each crate says the order of its rooms, low to high, and its files keep to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::wiring::{product, sources};

/// A file's module path below its crate: empty for `lib.rs`.
type Module = Vec<String>;

/// The crates that say the order of their rooms.
const CRATES: [&str; 10] = [
    "domain/kernel",
    "domain/marketplace",
    "schemas/record",
    "schemas/marketplace",
    "eventstore",
    "projections",
    "services/platform",
    "services/marketplace",
    "bridges/cqrs-es",
    "bridges/postgres",
];

/// A crate's files, what each uses, and what each passes on from others.
struct House {
    name: &'static str,
    files: BTreeMap<Module, String>,
    /// module -> name -> the path it stands for
    passed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
    lib: String,
}

/// One file uses another, at a line.
struct Use {
    from: Module,
    to: Module,
    line: usize,
}

fn words(path: &str) -> Vec<String> {
    path.split("::").map(|word| word.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn spread(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let (mut parts, mut depth, mut part) = (vec![], 0, String::new());
    for sign in inner.trim_end().trim_end_matches('}').chars().chain([',']) {
        depth += match sign {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if sign == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(sign);
        }
    }
    // A closing brace of an inner list may have gone with the outer one.
    let closed = |part: &String| format!("{part}{}", "}".repeat(part.matches('{').count().saturating_sub(part.matches('}').count())));
    parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|part| spread(&format!("{before}{}", closed(part).trim()))).collect()
}

/// A line without the comment at its end; two slashes behind a colon are an address's.
fn uncommented(line: &str) -> &str {
    let comment = line.match_indices("//").map(|(at, _)| at).find(|at| !line[..*at].ends_with(':'));
    comment.map_or(line, |at| &line[..at])
}

/// A `use` statement: its line, whether it passes on, and its tree.
type Statement = (usize, bool, String);

/// The `use` statements of a file's code.
fn statements(text: &str) -> Vec<Statement> {
    let (mut found, mut open): (Vec<Statement>, Option<Statement>) = (vec![], None);
    for (at, line) in text.lines().enumerate() {
        let line = uncommented(line).trim();
        if open.is_none() {
            let restricted = line.strip_prefix("pub(").and_then(|rest| rest.split_once(") ")).map(|(_, rest)| rest);
            let bare = restricted.or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
            if let Some(tree) = bare.strip_prefix("use ") {
                open = Some((at + 1, bare.len() < line.len(), tree.to_owned()));
            }
        } else if let Some((.., tree)) = &mut open {
            tree.push_str(line);
        }
        if let Some((at, public, tree)) = open.take_if(|(.., tree)| tree.ends_with(';')) {
            found.push((at, public, tree.trim_end_matches(';').to_owned()));
        }
    }
    found
}

/// Paths that stand in code outside `use`.
fn inline(text: &str) -> Vec<(usize, String)> {
    let mut found = vec![];
    for (at, line) in text.lines().enumerate() {
        let line = uncommented(line);
        for begin in ["crate::", "super::"] {
            for (place, _) in line.match_indices(begin) {
                let apart = line.get(..place).and_then(|before| before.chars().next_back()).is_none_or(|sign| !sign.is_alphanumeric() && !"_:$".contains(sign));
                let path: String = line[place..].chars().take_while(|sign| sign.is_alphanumeric() || "_:".contains(*sign)).collect();
                if apart && !line.trim_start().starts_with("use ") {
                    found.push((at + 1, path));
                }
            }
        }
    }
    found
}

impl House {
    fn read(name: &'static str) -> Self {
        let mut files = BTreeMap::new();
        // A binary's `main.rs` is a crate of its own.
        for (file, text) in sources(&format!("{name}/src")).into_iter().filter(|(file, _)| !file.ends_with("src/main.rs")) {
            let path = file.strip_prefix(&format!("{name}/src/")).unwrap().trim_end_matches(".rs");
            let mut module: Module = path.split('/').map(str::to_owned).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            // What macros write for others is not this file's.
            files.insert(module, product(&text).to_owned());
        }
        let lib = files[&vec![] as &Module].clone();
        let mut house = Self { name, files, passed_on: BTreeMap::new(), lib };
        for (module, text) in house.files.clone() {
            for (_, public, tree) in statements(&text) {
                for path in spread(&tree).into_iter().filter(|_| public) {
                    if let Some(path) = house.absolute(&module, &words(&path)) {
                        let name = path.last().unwrap().clone();
                        house.passed_on.entry(module.clone()).or_default().insert(name, path);
                    }
                }
            }
        }
        house
    }

    /// A path from the crate's root; none if it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let mut base = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (base, rest) = (vec![], &path[1..]),
            "self" if path.get(1).is_none_or(|word| word != "super") => rest = &path[1..],
            "self" | "super" => {
                rest = if path[0] == "self" { &path[1..] } else { path };
                while rest.first().is_some_and(|word| word == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child if self.files.contains_key(&[module.as_slice(), &[child.to_owned()]].concat()) => {}
            _ => return None,
        }
        Some([base, rest.to_vec()].concat())
    }

    /// The file in which what a path names is written.
    fn home(&self, path: &[String]) -> Module {
        let mut home: Module = vec![];
        for (at, word) in path.iter().enumerate() {
            let below = [home.as_slice(), std::slice::from_ref(word)].concat();
            if self.files.contains_key(&below) {
                home = below;
            } else if let Some(elsewhere) = self.passed_on.get(&home).and_then(|names| names.get(word)).filter(|elsewhere| elsewhere.as_slice() != path) {
                return self.home(&[elsewhere.as_slice(), &path[at + 1..]].concat());
            } else {
                break;
            }
        }
        home
    }

    fn uses(&self) -> Vec<Use> {
        let mut uses = vec![];
        for (module, text) in &self.files {
            let written: Vec<(usize, String)> =
                statements(text).into_iter().flat_map(|(line, _, tree)| spread(&tree).into_iter().map(move |path| (line, path))).collect();
            for (line, path) in written.into_iter().chain(inline(text)) {
                let Some(path) = self.absolute(module, &words(&path)) else { continue };
                let to = self.home(&path);
                if to != *module {
                    uses.push(Use { from: module.clone(), to, line });
                }
            }
        }
        uses
    }

    /// The rooms as `lib.rs` names them, low to high.
    fn order(&self) -> Vec<String> {
        let told = self.lib.split("Low to high:").nth(1).unwrap_or_else(|| panic!("{}/src/lib.rs does not say the order of its rooms", self.name));
        let told = told.split("\n\n").next().unwrap_or_default();
        told.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn place(&self, used: &Use) -> String {
        let file = [&[self.name.to_owned(), "src".to_owned()], used.from.as_slice()].concat().join("/");
        format!("{file} line {}: uses {}", used.line, if used.to.is_empty() { "lib".to_owned() } else { used.to.join("::") })
    }
}

/// What is wrong with a crate's order.
fn wrong(house: &House) -> Vec<String> {
    let (order, uses) = (house.order(), house.uses());
    let mut wrong = vec![];
    let rooms: BTreeSet<&String> = house.files.keys().filter_map(|module| module.first()).collect();
    let said: BTreeSet<&String> = order.iter().collect();
    if rooms != said || said.len() != order.len() {
        wrong.push(format!("{}/src/lib.rs says the order of {said:?}, there are {rooms:?}", house.name));
    }
    let rank = |module: &Module| module.first().and_then(|room| order.iter().position(|known| known == room));
    for used in uses.iter().filter(|used| !used.from.is_empty()) {
        if used.from.first() != used.to.first() && rank(&used.to) >= rank(&used.from) {
            wrong.push(format!("{}, which does not stand below it", house.place(used)));
        }
    }
    for (module, text) in &house.files {
        let file = [&[house.name.to_owned(), "src".to_owned()], module.as_slice()].concat().join("/");
        for (line, _, tree) in statements(text) {
            let hides = spread(&tree).into_iter().any(|path| path.ends_with("::*") && house.absolute(module, &words(&path)).is_some());
            if hides {
                wrong.push(format!("{file} line {line}: a glob of the own crate hides what is used"));
            }
        }
        if text.lines().any(|line| uncommented(line).trim_start().starts_with("extern crate")) {
            wrong.push(format!("{file}: a crate by another name hides what is used"));
        }
    }
    // Files that use each other: whatever is reached from a file must not reach it again.
    let mut next: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for used in &uses {
        next.entry(&used.from).or_default().insert(&used.to);
    }
    let reached = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            open.extend(next.get(module).into_iter().flatten().copied().filter(|to| seen.insert(*to)));
        }
        seen.into_iter().cloned().collect::<BTreeSet<Module>>()
    };
    for used in uses.iter().filter(|used| reached(&used.to).contains(&used.from)) {
        wrong.push(format!("{}, which uses it: a circle", house.place(used)));
    }
    wrong
}

#[test]
fn rooms_stand_in_one_direction() {
    let all: Vec<String> = CRATES.iter().flat_map(|name| wrong(&House::read(name))).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The check finds what it should: a house with each of the faults.
#[test]
fn what_breaks_the_direction_is_named_with_its_line() {
    let text = |text: &str| text.to_owned();
    let house = |files: &[(&str, &str)]| {
        let files: BTreeMap<Module, String> =
            files.iter().map(|(path, code)| (path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect(), text(code))).collect();
        let lib = files[&vec![] as &Module].clone();
        House { name: "made", files, passed_on: BTreeMap::new(), lib }
    };
    let lib = "//! Low to high: `low`, `high`.\n\nmod low;\nmod high;\n";
    assert_eq!(wrong(&house(&[("", lib), ("low", "use std::fmt;\n"), ("high", "use crate::low::Thing;\n")])), Vec::<String>::new());
    let up = wrong(&house(&[("", lib), ("low", "\nuse crate::{\n    high::Thing,\n};\n"), ("high", "")]));
    assert_eq!(up, ["made/src/low line 2: uses high, which does not stand below it"]);
    let inline = wrong(&house(&[("", lib), ("low", "fn f() {\n    crate::high::go();\n}\n"), ("high", "")]));
    assert_eq!(inline, ["made/src/low line 2: uses high, which does not stand below it"]);
    for hidden in [
        "use self::super::high::Thing;\n",
        "#[cfg(test)]\nconst UNUSED: u8 = 0;\nuse crate::high::Thing;\n",
        "pub(in crate) use crate::{high::Thing};\n",
        "const AT: &str = \"http://x\"; fn f() { crate::high::go() }\n",
    ] {
        let found = wrong(&house(&[("", lib), ("low", hidden), ("high", "")]));
        assert!(found.len() == 1 && found[0].ends_with("uses high, which does not stand below it"), "{hidden}: {found:?}");
    }
    for hidden in ["extern crate self as me;\nuse me::high::Thing;\n", "use crate::high::*;\n"] {
        assert!(wrong(&house(&[("", lib), ("low", hidden), ("high", "")])).iter().any(|found| found.ends_with("hides what is used")), "{hidden}");
    }
    let circle = wrong(&house(&[("", lib), ("low", ""), ("high", "use part::Part;\n"), ("high::part", "use super::Whole;\n")]));
    assert_eq!(circle.len(), 2, "{circle:?}");
    assert!(circle.iter().all(|found| found.ends_with("a circle")), "{circle:?}");
    let unsaid = wrong(&house(&[("", lib), ("low", ""), ("high", ""), ("third", "")]));
    assert!(unsaid.len() == 1 && unsaid[0].contains("third"), "{unsaid:?}");
}
