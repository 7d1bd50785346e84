//! What a receiver leaves when the power fails at any call, and what becomes of it then.

#[path = "../crashes/mod.rs"]
mod crashes;

use crashes::{Mischief, World, fine};
use duologue::fs::{Collision, Layer};
use duologue::testing::{Barrier, ShadowDisk};

use super::fs_util;

#[test]
fn s3_crash_at_every_call_leaves_the_old_or_the_whole_file() {
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        World::new(fine).collision(collision).holds();
    }
}

#[test]
fn s3_crash_on_a_disk_that_writes_little_at_a_time() {
    World::new(|| fine().longest_write(400).sector(256)).holds();
}

#[test]
fn s3_crash_with_torn_journals() {
    World::new(|| ShadowDisk::new().sector(64)).holds();
}

#[test]
fn a11_wrong_content_is_never_published() {
    World::new(fine).mischief(Mischief::WrongByte).holds();
}

#[test]
fn s5_bit_rot_while_the_power_is_off_is_found() {
    World::new(fine).mischief(Mischief::BitRot).holds();
}

#[test]
fn s6_a_name_that_is_taken_meanwhile_is_left_alone() {
    for collision in [Collision::Number, Collision::Refuse] {
        let world = World::new(fine).collision(collision);
        world.without_old().mischief(Mischief::NameTaken).holds();
    }
}

#[test]
fn a13_a_second_program_does_no_harm() {
    World::new(fine).mischief(Mischief::SecondProgram).holds();
}

// Each barrier and each layer switched off once: the enumeration must notice.

#[test]
fn without_synchronising_the_part_durable_bytes_are_lost() {
    World::new(|| fine().without(Barrier::Sync(".part"))).notices("durable bytes");
    World::new(|| fine().without(Barrier::Sync(".part"))).notices("neither old nor");
}

#[test]
fn without_synchronising_the_journal_durable_bytes_are_lost() {
    World::new(|| fine().without(Barrier::Sync(".journal"))).notices("durable bytes");
}

#[test]
fn without_synchronising_the_folder_durable_bytes_and_files_are_lost() {
    World::new(|| fine().without(Barrier::SyncFolder)).notices("durable bytes");
    World::new(|| fine().without(Barrier::SyncFolder)).notices("stored is gone");
}

#[test]
fn without_synchronising_what_is_noted_a_file_is_stored_twice() {
    World::new(|| fine().without(Barrier::Sync(".table"))).notices("stored twice");
    World::new(|| fine().without(Barrier::SyncFolder)).notices("stored twice");
}

#[test]
fn without_the_last_synchronisation_half_a_file_is_published() {
    World::new(fine).without(Layer::FinalSync).notices("neither old nor whole");
}

#[test]
fn without_the_check_of_a_record_a_torn_one_hides_the_whole_one() {
    let world = World::new(|| ShadowDisk::new().sector(64));
    world.without(Layer::JournalCheck).notices("durable bytes");
}

#[test]
fn without_the_check_of_the_prefix_rotten_bytes_are_found_at_the_end_only() {
    let world = World::new(fine).mischief(Mischief::BitRot);
    world.without(Layer::PrefixCheck).notices("cannot go on");
}

#[test]
fn without_the_digest_wrong_content_is_published() {
    let world = World::new(fine).mischief(Mischief::WrongByte);
    world.without(Layer::DigestCheck).notices("neither old nor whole");
}

#[test]
fn without_rename_without_replacing_another_file_is_lost() {
    let world = World::new(|| fine().without(Barrier::NoReplace)).collision(Collision::Refuse);
    world.without_old().mischief(Mischief::NameTaken).notices("is gone");
}

#[test]
fn without_the_lock_a_second_program_spoils_the_file() {
    let world = World::new(|| fine().without(Barrier::Lock));
    world.mischief(Mischief::SecondProgram).notices("durable bytes");
}
