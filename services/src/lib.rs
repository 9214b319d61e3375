//! Who runs it: the marketplace's capabilities, the HTTP shell over them, and the commands of the binary `daybook`.

pub mod asyncapi;
pub mod audit;
pub mod capabilities;
pub mod cli;
pub mod config;
pub mod cpu;
pub mod dead_letters;
mod fresh;
pub mod http;
pub mod import;
pub mod load;
mod misuse;
pub mod operate;
mod out;
pub mod runtime;
pub mod telemetry;
pub mod up;
pub mod verify;
