//! What the figures were made with.

use std::fs;

use serde_json::{Value, json};

/// The lock file has the versions that were built.
const LOCK: &str = include_str!("../Cargo.lock");
const CRATES: [&str; 10] = [
    "duologue",
    "tokio",
    "tokio-util",
    "asynchronous-codec",
    "yamux",
    "h2",
    "blake3",
    "bytes",
    "futures",
    "rustix",
];

/// Processor, cores, memory, kernel, compiler and crates.
pub fn describe() -> Value {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let name = rustix::system::uname();
    let kernel = format!(
        "{} {} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    );
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
        .unwrap_or_default()
        .trim()
        .to_owned();
    let crates: serde_json::Map<_, _> = CRATES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Value::from(version(name)?))))
        .collect();
    json!({
        "cpu": cpu, "cores": cores, "memory": memory, "kernel": kernel,
        "congestion_control_of_the_host": congestion,
        "rustc": rustc(), "crates": crates,
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}

/// The same in a few lines.
pub fn print(machine: &Value) {
    let text = |name: &str| machine[name].as_str().unwrap_or_default().to_owned();
    println!(
        "{}, {} cores, {}; {}; {}; load {}",
        text("cpu"),
        machine["cores"],
        text("memory"),
        text("kernel"),
        text("rustc"),
        text("load"),
    );
    let crates = machine["crates"].as_object().into_iter().flatten();
    let crates: Vec<_> = crates
        .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?")))
        .collect();
    println!("{}", crates.join(", "));
}

fn rustc() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    std::process::Command::new(compiler).arg("--version").output().map_or_else(
        |_| "rustc unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn version(name: &str) -> Option<String> {
    let entry = LOCK.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?;
    Some(entry.split_once('"')?.0.to_owned())
}
