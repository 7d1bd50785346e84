//! Many files at once.

use bytes::Bytes;
use duologue::proto::{ActionError, Conclusion, Config};
use duologue::session::{IncomingBatch, OutgoingBatch, SessionError, TransferError};
use duologue::wire::{Batch, Offer, TransferCode};
use futures::future::join;

use super::session_util::{Peer, World, content, read_all, send_all};

fn batch(count: u32, bytes: u64) -> Batch<'static> {
    Batch { name: "folder".into(), count, bytes, metadata: b""[..].into() }
}

async fn begin(
    near: &Peer,
    far: &mut Peer,
    announced: Batch<'_>,
) -> (OutgoingBatch, IncomingBatch) {
    let mut outgoing = near.session.offer_batch(&announced).await.unwrap();
    let offered = far.batch().await;
    assert_eq!(offered.batch(), &announced);
    assert_eq!(offered.id(), outgoing.id());
    let incoming = offered.accept().unwrap();
    outgoing.accepted().await.unwrap();
    (outgoing, incoming)
}

#[test]
fn a_batch_that_was_stored_at_once_was_accepted() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let mut outgoing = near.session.offer_batch(&batch(0, 0)).await.unwrap();
        let mut incoming = far.batch().await.accept().unwrap();
        assert!(incoming.next().await.unwrap().is_none());
        incoming.conclude(&Conclusion::Stored { name: "folder" }).unwrap();
        // The verdict is here before anybody has asked for the decision.
        assert_eq!(outgoing.verdict().await.unwrap().name(), Some("folder"));
        assert_eq!(outgoing.accepted().await, Ok(()));
    });
}

#[test]
fn a_folder_arrives_with_its_empty_folders() {
    World::run_at_once(async |world| {
        // Fewer transfers at a time than members.
        let config = Config::builder().max_transfers(4).build().unwrap();
        let (near, mut far) = world.connect_with((Default::default(), config)).await;
        let (mut outgoing, mut incoming) = begin(&near, &mut far, batch(21, 20 * 30_000)).await;
        let sending = async {
            let mut folder = outgoing.offer(Offer::new("empty").directory()).await.unwrap();
            let mut names = Vec::new();
            for n in 0..20 {
                let offer = Offer::new(format!("{n}")).size(30_000);
                let mut member = outgoing.offer(offer).await.unwrap();
                let file = Bytes::from(content(30_000));
                names.push(send_all(&mut member, &file, 10_000).await.unwrap());
            }
            folder.verdict().await.unwrap();
            (names, outgoing.verdict().await.unwrap())
        };
        let receiving = async {
            let mut files = 0;
            while let Some((offer, mut member)) = incoming.next().await.unwrap() {
                if !offer.is_directory {
                    assert!(read_all(&mut member).await.unwrap() == content(30_000));
                    files += 1;
                }
                member.stored(&offer.name).unwrap();
            }
            incoming.conclude(&Conclusion::Stored { name: "folder" }).unwrap();
            files
        };
        let ((names, verdict), files) = join(sending, receiving).await;
        assert_eq!((names.len(), files), (20, 20));
        assert_eq!((verdict.name(), verdict.total()), (Some("folder"), 21));
    });
}

#[test]
fn batches_wait_for_one_another_and_leave_a_place_for_their_members() {
    World::run_at_once(async |world| {
        let far = Config::builder().max_transfers(2).build().unwrap();
        let near = Config::builder().outgoing_transfers(2).build().unwrap();
        for configs in [(Default::default(), far), (near, Default::default())] {
            let (near, mut far) = world.connect_with(configs).await;
            let send = async || {
                let mut outgoing = near.session.offer_batch(&batch(2, 0)).await.unwrap();
                outgoing.accepted().await.unwrap();
                for name in ["1", "2"] {
                    let mut folder = outgoing.offer(Offer::new(name).directory()).await.unwrap();
                    folder.verdict().await.unwrap();
                }
                outgoing.verdict().await.unwrap().total()
            };
            let receive = async {
                for _ in 0..2 {
                    let mut incoming = far.batch().await.accept().unwrap();
                    world.detach(async move {
                        while let Some((offer, member)) = incoming.next().await.unwrap() {
                            member.stored(&offer.name).unwrap();
                        }
                        incoming.conclude(&Conclusion::Stored { name: "folder" }).unwrap();
                    });
                }
            };
            let (totals, ()) = join(join(send(), send()), receive).await;
            assert_eq!(totals, (2, 2));
        }
    });
}

#[test]
fn a_batch_that_has_no_place_for_a_member_is_refused_at_once() {
    World::run_at_once(async |world| {
        let far = Config::builder().max_transfers(1).build().unwrap();
        let near = Config::builder().outgoing_transfers(1).build().unwrap();
        for configs in [(Default::default(), far), (near, Default::default())] {
            let (mut near, mut far) = world.connect_with(configs).await;
            let (_outgoing, _incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
            let refused = near.session.offer_batch(&batch(1, 0)).await.unwrap_err();
            assert_eq!(refused, SessionError::Refused(ActionError::NoPlaceForMembers));
            assert!(!refused.can_retry());
        }
        // One that has none needs no place for them.
        let config = Config::builder().max_transfers(1).build().unwrap();
        let (near, mut far) = world.connect_with((Default::default(), config)).await;
        let (mut outgoing, incoming) = begin(&near, &mut far, batch(0, 0)).await;
        incoming.conclude(&Conclusion::Stored { name: "folder" }).unwrap();
        outgoing.verdict().await.unwrap();
    });
}

#[test]
fn a_batch_can_be_rejected_or_dropped() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let mut outgoing = near.session.offer_batch(&batch(3, 3)).await.unwrap();
        far.batch().await.reject(TransferCode::NO_SPACE, "full").unwrap();
        let Err(TransferError::NotStored(verdict)) = outgoing.accepted().await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::NO_SPACE);
        let mut outgoing = near.session.offer_batch(&batch(3, 3)).await.unwrap();
        drop(far.batch().await);
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::DECLINED);
    });
}

#[test]
fn a_batch_given_up_by_its_receiver_takes_its_waiting_members_along() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let (mut outgoing, mut incoming) = begin(&near, &mut far, batch(5, 500_000)).await;
        let mut first = outgoing.offer(Offer::new("1")).await.unwrap();
        let mut second = outgoing.offer(Offer::new("2")).await.unwrap();
        let (_, mut member) = incoming.next().await.unwrap().unwrap();
        world.settle().await;
        drop(incoming);
        // The one that nobody has a handle of is cancelled, the other one goes on.
        let Err(TransferError::NotStored(verdict)) = second.verdict().await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::CANCELLED);
        let file = Bytes::from(content(1000));
        let (sent, ()) = join(send_all(&mut first, &file, 1000), async {
            assert!(read_all(&mut member).await.unwrap() == file);
            member.stored("1").unwrap();
        })
        .await;
        assert_eq!(sent, Ok("1".into()));
        // With the last member the batch ends.
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!((verdict.code(), verdict.total()), (TransferCode::CANCELLED, 1));
        let error = outgoing.offer(Offer::new("3")).await.unwrap_err();
        assert!(matches!(error, TransferError::NotStored(_)), "{error}");
        drop(near.session.send_chat(&duologue::wire::Chat::new("still here")).await.unwrap());
        assert_eq!(far.chat().await, "still here");
    });
}

#[test]
fn a_batch_given_up_by_its_sender_asks_for_its_end() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let (outgoing, mut incoming) = begin(&near, &mut far, batch(5, 500_000)).await;
        drop(outgoing);
        let error = incoming.next().await.unwrap_err();
        assert!(matches!(error, TransferError::CancelAsked { .. }), "{error}");
        let cancelled = Conclusion::Failed { code: TransferCode::CANCELLED, text: "" };
        incoming.conclude(&cancelled).unwrap();
    });
}

#[test]
fn a_batch_concluded_too_early_ends_as_cancelled_with_its_last_member() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let (mut outgoing, mut incoming) = begin(&near, &mut far, batch(1, 1)).await;
        let mut first = outgoing.offer(Offer::new("1")).await.unwrap();
        let (_, member) = incoming.next().await.unwrap().unwrap();
        let error = incoming.conclude(&Conclusion::Stored { name: "x" }).unwrap_err();
        assert!(matches!(error, TransferError::Refused(_)), "{error}");
        drop(member);
        assert!(first.verdict().await.is_err());
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::CANCELLED);
    });
}
