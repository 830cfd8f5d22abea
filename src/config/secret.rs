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

/// Says whether bytes, without the spaces and line ends around them, may be the
/// secret.
type Check = fn(&[u8]) -> Result<(), Fault>;

/// Reads a secret that the user made from the environment or the file that the
/// value names; `None` where it is not looked for, too.
pub(super) fn read(value: &Value<'_>) -> Option<Secret> {
    located(value, made_well)
}

/// As [`read`], for a secret of one line that others gave to the user: how good
/// it is, is theirs to decide.
pub(super) fn given(value: &Value<'_>) -> Option<Secret> {
    located(value, one_line)
}

/// As [`given`], for one of several lines, such as a PEM file.
pub(super) fn document(value: &Value<'_>) -> Option<Secret> {
    located(value, text)
}

fn located(value: &Value<'_>, check: Check) -> Option<Secret> {
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
                is_looked_for.then(|| from_environment(name, check)).and_then(|read| found(&env, read))
            }
            (None, Some(file)) => {
                let path = file.path()?;
                is_looked_for.then(|| from_file(&path, check)).and_then(|read| found(&file, read))
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

fn from_environment(name: &str, check: Check) -> Result<Secret, Fault> {
    match std::env::var_os(name).map(OsString::into_vec) {
        Some(bytes) => secret(&bytes, check),
        None => Err(Fault::new(format!("{name} is not in the environment"))
            .help("set it where seawall is started; for systemd: EnvironmentFile")),
    }
}

fn from_file(path: &Path, check: Check) -> Result<Secret, Fault> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| Fault::new(format!("cannot read {}: {error}", path.display())))?;
    secret(&bytes, check)
}

/// Spaces and line ends around it are not part of it.
fn secret(bytes: &[u8], check: Check) -> Result<Secret, Fault> {
    // What is read of a file that is longer may end with a space.
    if bytes.len() as u64 > LONGEST {
        return Err(Fault::new(format!("longer than {LONGEST} bytes")));
    }
    let secret = bytes.trim_ascii();
    check(secret).map(|()| Secret::new(secret))
}

fn made_well(secret: &[u8]) -> Result<(), Fault> {
    if secret.len() < SHORTEST {
        let fault = Fault::new(format!("shorter than {SHORTEST} bytes"));
        return Err(fault.help("make one that cannot be guessed: openssl rand -hex 32"));
    }
    match secret.iter().all(u8::is_ascii_graphic) {
        true => Ok(()),
        false => Err(Fault::new("has bytes that do not fit into a field")
            .help("make one that does: openssl rand -hex 32")),
    }
}

fn text(secret: &[u8]) -> Result<(), Fault> {
    match std::str::from_utf8(secret) {
        Ok("") => Err(Fault::new("is empty")),
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new("is not UTF-8")),
    }
}

fn one_line(secret: &[u8]) -> Result<(), Fault> {
    text(secret)?;
    match secret.iter().any(u8::is_ascii_control) {
        true => {
            Err(Fault::new("has more than one line").help("keep the secret alone, without what is around it"))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_secret() {
        let own = |bytes: &[u8]| secret(bytes, made_well);
        assert!(own(b" 0123456789abcdef\r\n").unwrap().is(b"0123456789abcdef"));
        for bytes in
            [&b""[..], b"0123456789abcde", b"0123456789 abcdef", b"0123456789abcd\xc3\xa4", &[b'x'; 4097]]
        {
            assert!(own(bytes).is_err());
        }
    }

    #[test]
    fn what_others_give_may_be_short() {
        for (bytes, is_line, is_text) in [
            (&b"pass w\xc3\xb6rd\n"[..], true, true),
            (b"-----BEGIN\nAAAA\n", false, true),
            (b" \n", false, false),
            (b"\xff", false, false),
            (&[b'x'; 4097], false, false),
        ] {
            assert_eq!((secret(bytes, one_line).is_ok(), secret(bytes, text).is_ok()), (is_line, is_text));
        }
    }
}
