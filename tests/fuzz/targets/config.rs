//! The config parser: any text is read, or refused with a message.

#![no_main]

use std::num::NonZeroUsize;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use seawall::config::{self, ConfigError, Machine};

fuzz_target!(|text: &str| {
    let machine = Machine {
        memory: 1 << 30,
        cores: NonZeroUsize::MIN,
        open_files: 1 << 16,
        state_dir: "/state".into(),
        system_state_dir: "/state".into(),
        runtime_dir: None,
    };
    match config::parse_for(&machine, "fuzz.toml", text, Path::new("/")) {
        Ok(loaded) => assert_eq!(loaded.text, text),
        Err(ConfigError::Invalid { rendered, errors }) => assert!(errors > 0 && !rendered.is_empty()),
        Err(other) => panic!("{other}"),
    }
});
