//! Development tasks: `cargo xtask tidy`, `cargo xtask codegen`.

mod codegen;
mod tidy;

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("codegen") => codegen::run(),
        Some("tidy") => tidy::run(root),
        _ => anyhow::bail!("usage: cargo xtask tidy|codegen"),
    }
}
