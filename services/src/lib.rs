//! Who runs it: the marketplace's capabilities, the HTTP shell over them, and the commands of the binary `daybook`.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `cpu`, `fresh`, `misuse`, `out`, `args`, `patience`, `prover`, `telemetry`, `gateway`, `audit`, `import`,
//! `load`, `operate`, `dead_letters`, `http`, `capability`, `config`, `capabilities`, `asyncapi`, `runtime`, `up`, `verify`,
//! `cli`.

pub mod args;
pub mod asyncapi;
pub mod audit;
pub mod capabilities;
pub mod capability;
pub mod cli;
pub mod config;
pub mod cpu;
pub mod dead_letters;
mod fresh;
pub mod gateway;
pub mod http;
pub mod import;
pub mod load;
mod misuse;
pub mod operate;
mod out;
mod patience;
pub mod prover;
pub mod runtime;
pub mod telemetry;
pub mod up;
pub mod verify;
