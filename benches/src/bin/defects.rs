//! Puts each defect of `tests/defects` into a copy of the sources, one at a time, and demands that the
//! tests which are named for it fail:
//! `cargo run --release --manifest-path benches/Cargo.toml --bin defects -- [--jobs N] [NAME]...`.
//!
//! Without names it is all of them, or with `--some N --seed S` so many that are drawn by the seed.
//!
//! All of them are compiled in at once, each behind a switch that the environment turns, so that there is
//! one build and not one a defect. With no switch on, all tests that are named have to pass, and the time
//! that each takes then says when one hangs. A test that hangs has failed, and is shown as such. It fails
//! if a defect survives one of its tests.

#[path = "../../../tests/defects/mod.rs"]
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use duologue::testing::SplitMix64;
use list::Defect;
use rustix::process::{Resource, Rlimit, setrlimit};

/// How long a test may take without a defect.
const LONGEST: Duration = Duration::from_secs(300);
/// How often as long it may take with one before it counts as hanging, and what it may always take.
const TIMES: u32 = 10;
const SHORTEST: Duration = Duration::from_secs(10);
/// How often it is looked after meanwhile.
const STEP: Duration = Duration::from_millis(5);
/// Bytes of address space that a test may take: some defects take away a bound.
const MEMORY: u64 = 8 << 30;
/// What turns a switch, by the place of the defect in the list, counted from 1.
const SWITCH: &str = "DUOLOGUE_DEFECT";
/// Appended to the library of the copy.
const SWITCHES: &str = r#"
#[doc(hidden)]
#[allow(missing_docs)]
pub fn seeded(defect: usize) -> bool {
    extern crate std;
    static ON: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let read = || std::env::var("DUOLOGUE_DEFECT").ok().and_then(|number| number.parse().ok());
    *ON.get_or_init(|| read().unwrap_or(0)) == defect
}
"#;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passes,
    Fails,
    Aborts,
    Hangs,
}

struct Ran {
    defect: usize,
    test: usize,
    outcome: Outcome,
    took: Duration,
}

fn main() -> Result<ExitCode> {
    let Arguments { jobs, some, seed, mut names } = arguments()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the package has no parent")?;
    let defects = list::all(root)?;
    if let Some(name) = names.iter().find(|name| defects.iter().all(|d| d.name != **name)) {
        return Err(format!("there is no defect named {name}").into());
    }
    if let Some(some) = some {
        if !names.is_empty() {
            return Err("it is some, or those of these names".into());
        }
        names = draw(&defects, some, seed);
        println!(
            "{} of {} defects, by seed {seed}: {}",
            names.len(),
            defects.len(),
            names.join(" ")
        );
    }
    let executable = std::env::current_exe()?;
    let place = executable.parent().and_then(Path::parent).ok_or("no target directory")?;
    let place = place.join("defects");
    let (tree, started) = (place.join("tree"), Instant::now());
    copy(root, &tree, &defects)?;
    let binary = build(&tree, &place.join("build"))?;
    println!("built with {} defects in {:.0} s", defects.len(), started.elapsed().as_secs_f64());
    limit_memory()?;

    let is_wanted = |defect: &Defect| names.is_empty() || names.contains(&defect.name);
    let work: Vec<(usize, usize)> = defects
        .iter()
        .enumerate()
        .filter(|(_, defect)| is_wanted(defect))
        .flat_map(|(index, defect)| (0..defect.tests.len()).map(move |test| (index, test)))
        .collect();
    let tests: BTreeSet<&str> = work.iter().map(|&(d, t)| &*defects[d].tests[t]).collect();
    let started = Instant::now();
    let bench = Bench { binary, tree, place, jobs };
    let times = bench.pass_without(tests.into_iter().collect())?;
    println!("{} tests pass without any in {:.0} s", times.len(), started.elapsed().as_secs_f64());

    let started = Instant::now();
    let ran = bench.run_all(&defects, &times, work)?;
    Ok(print(&defects, &ran, started.elapsed()))
}

#[derive(Default)]
struct Arguments {
    jobs: usize,
    /// How many are drawn.
    some: Option<usize>,
    seed: u64,
    names: Vec<String>,
}

fn arguments() -> Result<Arguments> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments { jobs, ..Arguments::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or("a number is missing");
        match &*word {
            "--jobs" => arguments.jobs = next()?.parse::<usize>()?.max(1),
            "--some" => arguments.some = Some(next()?.parse()?),
            "--seed" => arguments.seed = next()?.parse()?,
            option if option.starts_with('-') => return Err(format!("no option {option}").into()),
            _ => arguments.names.push(word),
        }
    }
    Ok(arguments)
}

/// So many names, each at most once.
fn draw(defects: &[Defect], some: usize, seed: u64) -> Vec<String> {
    let mut random = SplitMix64::new(seed);
    let mut names: Vec<String> = defects.iter().map(|defect| defect.name.clone()).collect();
    let some = some.min(names.len());
    for place in 0..some {
        let left = (names.len() - place) as u64;
        names.swap(place, place + random.below(left) as usize);
    }
    names.truncate(some);
    names
}

/// The files of the repository, from its root: as git has them, or all but what is built where it has no
/// say.
fn files(root: &Path) -> Result<Vec<String>> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    if let Ok(listed) = Command::new("git").args(words).current_dir(root).output() {
        if listed.status.success() {
            let listed = String::from_utf8(listed.stdout)?;
            return Ok(listed.split_terminator('\0').map(str::to_owned).collect());
        }
    }
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (entry, is_built) = (entry?, |name: &str| name == "target" || name == ".git");
            let name = entry.file_name().into_string().map_err(|_| "a name that is no UTF-8")?;
            match entry.file_type()?.is_dir() {
                true if is_built(&name) => {}
                true => folders.push(entry.path()),
                false => {
                    let path = entry.path();
                    let path = path.strip_prefix(root)?.to_str().ok_or("no UTF-8")?;
                    files.push(path.to_owned());
                }
            }
        }
    }
    Ok(files)
}

/// Copies what belongs to the repository, with all defects; what is the same already is left alone, so
/// that it is not built again.
fn copy(root: &Path, tree: &Path, defects: &[Defect]) -> Result<()> {
    let mut seeded = seed(root, defects)?;
    for name in &files(root)? {
        let content = match seeded.remove(name) {
            Some(text) => text.into_bytes(),
            // Taken away, and not yet told to git.
            None if !root.join(name).exists() => continue,
            None => fs::read(root.join(name))?,
        };
        let path = tree.join(name);
        fs::create_dir_all(path.parent().ok_or("a file without a folder")?)?;
        if fs::read(&path).ok().as_ref() != Some(&content) {
            fs::write(&path, content)?;
        }
    }
    match seeded.keys().next() {
        Some(name) => Err(format!("{name} is no file of the repository").into()),
        None => Ok(()),
    }
}

/// The files that have defects, with a switch for each of these.
fn seed(root: &Path, defects: &[Defect]) -> Result<BTreeMap<String, String>> {
    let mut places: BTreeMap<&str, BTreeMap<(usize, usize), Vec<usize>>> = BTreeMap::new();
    for (index, defect) in defects.iter().enumerate() {
        let text = fs::read_to_string(root.join(&defect.file))?;
        let place = defect.find(&text)?;
        places.entry(&defect.file).or_default().entry(place).or_default().push(index);
    }
    let library = fs::read_to_string(root.join("src/lib.rs"))? + SWITCHES;
    // It may lie beneath the target directory of another package.
    let manifest = fs::read_to_string(root.join("Cargo.toml"))? + "\n[workspace]\n";
    let mut seeded =
        BTreeMap::from([("Cargo.toml".to_owned(), manifest), ("src/lib.rs".to_owned(), library)]);
    for (file, places) in places {
        let mut text = fs::read_to_string(root.join(file))?;
        let mut end = text.len();
        for ((from, to), here) in places.into_iter().rev() {
            if to > end {
                let name = &defects[here[0]].name;
                return Err(format!("{name} lies in the code of another defect").into());
            }
            let mut code = text[from..to].to_owned();
            for index in here {
                let condition = format!("crate::seeded({})", index + 1);
                code = defects[index].switched(&code, &condition);
            }
            text.replace_range(from..to, &code);
            end = from;
        }
        seeded.insert(file.to_owned(), text);
    }
    Ok(seeded)
}

/// Builds the tests of the copy; returns the program.
fn build(tree: &Path, target: &Path) -> Result<PathBuf> {
    let words = ["test", "--locked", "--no-run", "--test", "it"];
    let output = Command::new("cargo")
        .args(words)
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("RUSTFLAGS", "-Awarnings")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the copy does not build, which kills nothing".into());
    }
    let messages = String::from_utf8(output.stdout)?;
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if let (Some("it"), Some(path)) =
            (message["target"]["name"].as_str(), message["executable"].as_str())
        {
            return Ok(path.into());
        }
    }
    Err("no program came of the build".into())
}

/// For this process and its children.
fn limit_memory() -> Result<()> {
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    Ok(setrlimit(Resource::As, limit)?)
}

/// Where tests are run, and how many at a time.
struct Bench {
    binary: PathBuf,
    tree: PathBuf,
    place: PathBuf,
    jobs: usize,
}

impl Bench {
    /// How long each takes while there is no defect: all have to be there, and to pass.
    fn pass_without<'a>(&self, tests: Vec<&'a str>) -> Result<BTreeMap<&'a str, Duration>> {
        let ran = self.each(tests, |test, output| {
            let (outcome, took) = self.run(output, None, test, LONGEST)?;
            let said = fs::read_to_string(output).unwrap_or_default();
            if outcome == Outcome::Passes && said.contains("1 passed; 0 failed") {
                return Ok((test, took));
            }
            print!("{said}");
            Err(std::io::Error::other(format!("{test} fails, or is not there, without a defect")))
        })?;
        Ok(ran.into_iter().collect())
    }

    fn run_all(
        &self,
        defects: &[Defect],
        times: &BTreeMap<&str, Duration>,
        work: Vec<(usize, usize)>,
    ) -> Result<Vec<Ran>> {
        let mut ran = self.each(work, |(defect, test), output| {
            let name = &*defects[defect].tests[test];
            let most = times.get(name).map_or(LONGEST, |took| SHORTEST.max(*took * TIMES));
            let (outcome, took) = self.run(output, Some(defect), name, most)?;
            Ok(Ran { defect, test, outcome, took })
        })?;
        ran.sort_by_key(|ran| (ran.defect, ran.test));
        Ok(ran)
    }

    /// Does each, some at a time, in any order; with a file for what it prints.
    fn each<T: Send, R: Send>(
        &self,
        work: Vec<T>,
        each: impl Fn(T, &Path) -> std::io::Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let (queue, done) = (Mutex::new(work.into_iter()), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|worker| {
                    let (queue, done, each) = (&queue, &done, &each);
                    let output = self.place.join(format!("output-{worker}"));
                    scope.spawn(move || -> Result<(), String> {
                        loop {
                            let next = queue.lock().map_err(|error| error.to_string())?.next();
                            let Some(next) = next else { return Ok(()) };
                            let result = each(next, &output).map_err(|error| error.to_string())?;
                            done.lock().map_err(|error| error.to_string())?.push(result);
                        }
                    })
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
        })?;
        Ok(done.into_inner().expect("no worker panics"))
    }

    /// Runs one test, with one defect if there is to be one.
    fn run(
        &self,
        output: &Path,
        defect: Option<usize>,
        test: &str,
        most: Duration,
    ) -> std::io::Result<(Outcome, Duration)> {
        let file = File::create(output)?;
        let mut child = Command::new(&self.binary)
            .args(["--exact", test])
            .current_dir(&self.tree)
            .env(SWITCH, defect.map_or(0, |defect| defect + 1).to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() >= most {
                child.kill()?;
                child.wait()?;
                return Ok((Outcome::Hangs, started.elapsed()));
            }
            std::thread::sleep(STEP);
        };
        let took = started.elapsed();
        let said = fs::read(output)?;
        let said = String::from_utf8_lossy(&said);
        let outcome = if status.success() {
            Outcome::Passes
        } else if said.contains("test result: FAILED") {
            Outcome::Fails
        } else {
            Outcome::Aborts
        };
        Ok((outcome, took))
    }
}

fn print(defects: &[Defect], ran: &[Ran], took: Duration) -> ExitCode {
    let mut survivors = BTreeSet::new();
    for ran in ran {
        let defect = &defects[ran.defect];
        let outcome = match ran.outcome {
            Outcome::Passes => {
                survivors.insert(ran.defect);
                "SURVIVED"
            }
            Outcome::Fails => "killed",
            Outcome::Aborts => "killed: it aborts",
            Outcome::Hangs => "killed: it hangs",
        };
        let (test, seconds) = (&defect.tests[ran.test], ran.took.as_secs_f64());
        println!("{:<40} {test:<100} {outcome:<18} {seconds:>6.1} s", defect.name);
    }
    let all: BTreeSet<usize> = ran.iter().map(|ran| ran.defect).collect();
    let killed = all.len() - survivors.len();
    println!("{} defects, {killed} killed, {:.0} s", all.len(), took.as_secs_f64());
    for &survivor in &survivors {
        println!("survived: {}: {}", defects[survivor].name, defects[survivor].lost);
    }
    if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
