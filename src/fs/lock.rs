use std::boxed::Box;
use std::io;

use super::store::{StatusKind, Store, StoreFile};
use super::{Action, Error};

/// Others may create and remove the same name meanwhile; so often it is tried.
const TRIES: usize = 16;

/// The open and locked file of this name, and whether it was created.
pub(super) fn open_locked(
    store: &dyn Store,
    name: &str,
) -> Result<(Box<dyn StoreFile>, bool), Error> {
    for _ in 0..TRIES {
        match store.create_new(name) {
            Ok(mut file) => {
                if lock(store, name, &mut *file)? == Lock::Ours {
                    return Ok((file, true));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let Some(mut file) = open_existing(store, name)? else { continue };
                match lock(store, name, &mut *file)? {
                    Lock::Ours => return Ok((file, false)),
                    Lock::Taken => return Err(Error::Busy),
                    Lock::Gone => {}
                }
            }
            Err(error) => return Err(Error::storage(Action::Create)(error)),
        }
    }
    Err(Error::Busy)
}

/// Opens what stands under the name of a part; what is no file of ours alone goes away.
fn open_existing(store: &dyn Store, name: &str) -> Result<Option<Box<dyn StoreFile>>, Error> {
    let status = match store.status(name) {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::storage(Action::Inspect)(error)),
    };
    // A second name is the final one, given just before a crash: not to be written to.
    if status.kind != StatusKind::File || status.links > 1 {
        store.remove(name).map_err(Error::storage(Action::Create))?;
        return Ok(None);
    }
    match store.open(name) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::storage(Action::Create)(error)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Ours,
    Taken,
    /// The name is of another file by now.
    Gone,
}

/// Locks a file, and makes sure that it is still the one of this name.
pub(super) fn lock(store: &dyn Store, name: &str, file: &mut dyn StoreFile) -> Result<Lock, Error> {
    if !file.try_lock().map_err(Error::storage(Action::Create))? {
        return Ok(Lock::Taken);
    }
    let opened = file.status().map_err(Error::storage(Action::Inspect))?;
    match store.status(name) {
        Ok(named) if named.file == opened.file && named.links <= 1 => Ok(Lock::Ours),
        Ok(_) => Ok(Lock::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::Gone),
        Err(error) => Err(Error::storage(Action::Inspect)(error)),
    }
}
