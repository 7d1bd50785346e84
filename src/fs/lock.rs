use std::boxed::Box;
use std::io;

use super::store::{Status, StatusKind, Store, StoreFile, if_there};
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
    let found = store.status_if_there(name).map_err(Error::storage(Action::Inspect))?;
    let Some(status) = found else { return Ok(None) };
    // A second name is the final one, given just before a crash: not to be written to.
    if status.kind != StatusKind::File || status.links > 1 {
        store.remove(name).map_err(Error::storage(Action::Create))?;
        return Ok(None);
    }
    if_there(store.open(name)).map_err(Error::storage(Action::Create))
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
    let named = store.status_if_there(name).map_err(Error::storage(Action::Inspect))?;
    // Where that is not known there are no locks, either: it counts as ours, or none ever would be.
    let is_it = |named: &Status| named.is_same(&opened) != Some(false) && named.links <= 1;
    let is_ours = named.is_some_and(|named| is_it(&named));
    Ok(if is_ours { Lock::Ours } else { Lock::Gone })
}
