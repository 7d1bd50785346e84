//! Only this package's sources are to know of it: what it depends on may have a `cfg(loom)` of its own.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
