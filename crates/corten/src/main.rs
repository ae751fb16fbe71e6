//! The `corten` binary: the command line, and the wiring of all rooms into a cluster.
//!
//! Owns: configuration, processes, and what goes where. Must never know: a rule of any kind of object.
//! Read first: `up.rs` (how a cluster starts) and `node.rs` (what a node is made of).

mod agent;
mod audit;
mod bench;
mod cli;
mod cluster;
mod control;
mod control_plane;
mod detach;
mod down;
mod features;
mod feeds;
mod image;
mod keys;
mod lock;
mod logging;
mod machine;
mod many;
mod node;
mod parts;
mod paths;
mod pod_network;
mod roles;
mod server;
mod serving;
mod status;
mod tokens;
mod up;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: corten_sys::allocator::Allocator = corten_sys::allocator::Allocator;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        // First of all: it forks, and must have one thread.
        Command::Keeper(args) => return corten_runtime::keeper::main(args.rest),
        Command::Agent(args) => agent::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Server(args) => server::run(&args),
        Command::Down(args) => down::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Image(command) => image::run(command),
        Command::Bench(args) => bench::run(args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "corten", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a future to its end on a runtime of its own.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    machine::runtime()?.block_on(future)
}
