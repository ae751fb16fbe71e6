//! Development tasks: `cargo xtask tidy`, `cargo xtask codegen`, `cargo xtask conformance`.

mod codegen;
mod conformance;
mod tidy;

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("codegen") => codegen::run(),
        Some("conformance") => conformance::run(root),
        Some("tidy") => tidy::run(root),
        _ => anyhow::bail!("usage: cargo xtask tidy|codegen|conformance"),
    }
}
