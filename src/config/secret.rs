//! Secrets: never written into the file, which says where they are.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::model::Secret;
use super::read::{Fault, Files, Value};

/// Fewer bytes could be guessed.
const SHORTEST: usize = 16;
/// More would not fit into a field.
const LONGEST: u64 = 4 << 10;

/// Reads the secret from the environment or the file that the value names;
/// `None` where it is not looked for, too.
pub(super) fn read(value: &Value<'_>) -> Option<Secret> {
    if value.is_text() {
        let fault = Fault::new("a secret does not stand in the file");
        value.fault(fault.help("write where it is: { env = \"NAME\" } or { file = \"/run/secrets/name\" }"));
        return None;
    }
    value.table(|table| {
        let (env, file) = (table.value("env"), table.value("file"));
        let is_looked_for = value.reading.files == Files::Check;
        match (env, file) {
            (Some(env), None) => {
                let name = env.parse("the name of an environment variable", name)?;
                is_looked_for.then(|| from_environment(name)).and_then(|read| found(&env, read))
            }
            (None, Some(file)) => {
                let path = file.path()?;
                is_looked_for.then(|| from_file(&path)).and_then(|read| found(&file, read))
            }
            (Some(_), Some(_)) => {
                value.fault(Fault::new("two places for one secret").help("keep `env` or `file`"));
                None
            }
            (None, None) => {
                value.fault(Fault::new("says nothing").help("write { env = \"NAME\" } or { file = ... }"));
                None
            }
        }
    })?
}

fn found(value: &Value<'_>, read: Result<Secret, Fault>) -> Option<Secret> {
    read.map_err(|fault| value.fault(fault)).ok()
}

fn name(text: &str) -> Result<&str, Fault> {
    match text.is_empty() || text.contains(['=', '\0']) {
        true => Err(Fault::new("not the name of an environment variable")),
        false => Ok(text),
    }
}

fn from_environment(name: &str) -> Result<Secret, Fault> {
    match std::env::var_os(name).map(OsString::into_vec) {
        Some(bytes) => secret(&bytes),
        None => Err(Fault::new(format!("{name} is not in the environment"))
            .help("set it where seawall is started; for systemd: EnvironmentFile")),
    }
}

fn from_file(path: &Path) -> Result<Secret, Fault> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| Fault::new(format!("cannot read {}: {error}", path.display())))?;
    secret(&bytes)
}

/// Spaces and line ends around it are not part of it.
fn secret(bytes: &[u8]) -> Result<Secret, Fault> {
    let secret = bytes.trim_ascii();
    match secret.len() {
        0..SHORTEST => {
            let fault = Fault::new(format!("shorter than {SHORTEST} bytes"));
            Err(fault.help("make one that cannot be guessed: openssl rand -hex 32"))
        }
        length if length as u64 > LONGEST => Err(Fault::new(format!("longer than {LONGEST} bytes"))),
        _ if !secret.iter().all(u8::is_ascii_graphic) => {
            Err(Fault::new("has bytes that do not fit into a field")
                .help("make one that does: openssl rand -hex 32"))
        }
        _ => Ok(Secret::new(secret)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_secret() {
        assert!(secret(b" 0123456789abcdef\r\n").unwrap().is(b"0123456789abcdef"));
        for bytes in
            [&b""[..], b"0123456789abcde", b"0123456789 abcdef", b"0123456789abcd\xc3\xa4", &[b'x'; 4097]]
        {
            assert!(secret(bytes).is_err());
        }
    }
}
