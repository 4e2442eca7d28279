//! Datastores against naive searches, and against damage.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const VOCAB: VocabularyId = VocabularyId { tokens: 6, hash: [7; 32] };

fn store(documents: &[Vec<u32>]) -> Datastore {
    Datastore::of_documents(VOCAB, documents.iter().map(Vec::as_slice)).expect("valid documents")
}

fn bytes_of(documents: &[Vec<u32>]) -> Vec<u8> {
    store(documents).bytes.get().to_vec()
}

/// The same with entries of 8 bytes.
fn wide(documents: &[Vec<u32>]) -> Datastore {
    let mut builder = DatastoreBuilder::new(VOCAB);
    for document in documents {
        builder.document(document).expect("valid ids");
    }
    let narrow = Header::new(VOCAB, builder.tokens(), builder.documents());
    let header = Header { entry_bytes: 8, ..narrow };
    let mut bytes = Vec::new();
    builder.write_as::<u64>(header, &mut bytes, &mut |_, _| true).expect("memory takes all");
    Datastore::new("wide".into(), Bytes::Owned(bytes)).expect("just built")
}

/// Longest end of the context that occurs, and how often each continuation of 3 follows it.
fn naive(documents: &[Vec<u32>], context: &[u32]) -> Option<(usize, BTreeMap<Vec<u32>, usize>)> {
    for matched in (2..=16.min(context.len())).rev() {
        let end = &context[context.len() - matched..];
        let mut follows = BTreeMap::new();
        for document in documents {
            for at in 0..document.len() {
                if document[at..].starts_with(end) {
                    let rest = &document[at + matched..];
                    *follows.entry(rest[..rest.len().min(3)].to_vec()).or_default() += 1;
                }
            }
        }
        if !follows.is_empty() {
            return Some((matched, follows));
        }
    }
    None
}

fn searched(store: &Datastore, context: &[u32]) -> Option<(usize, BTreeMap<Vec<u32>, usize>)> {
    let matches = store.find(context, 16, 2).expect("the store is sound")?;
    let mut follows = BTreeMap::new();
    for place in store.places(&matches, context, usize::MAX).expect("sound") {
        assert!(store.agreement(place, context, 64) >= matches.matched);
        *follows.entry(store.continuation(place, 3).expect("sound")).or_default() += 1;
    }
    Some((matches.matched, follows))
}

fn documents() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(0..4u32, 1..80), 1..6)
}

proptest! {
    #[test]
    fn finds_what_a_naive_search_finds(
        documents in documents(),
        context in prop::collection::vec(0..5u32, 0..24),
    ) {
        let wanted = naive(&documents, &context);
        prop_assert_eq!(searched(&store(&documents), &context), wanted.clone());
        prop_assert_eq!(searched(&wide(&documents), &context), wanted);
    }

    #[test]
    fn a_damaged_file_gives_an_error_or_an_answer_but_never_a_panic(
        documents in documents(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        context in prop::collection::vec(0..4u32, 2..20),
    ) {
        let mut bytes = bytes_of(&documents);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let named = |error: Error| {
            assert!(error.to_string().contains("damaged.store"), "{error}");
        };
        match Datastore::new("damaged.store".into(), Bytes::Owned(bytes)) {
            Err(error) => named(error),
            Ok(store) => match store.find(&context, 16, 2) {
                Err(error) => named(error),
                Ok(None) => {}
                Ok(Some(matches)) => match store.places(&matches, &context, 50) {
                    Err(error) => named(error),
                    Ok(places) => for place in places {
                        match store.continuation(place, 10) {
                            Err(error) => named(error),
                            Ok(tokens) => {
                                assert!(tokens.iter().all(|&t| t < store.vocabulary().tokens));
                            }
                        }
                    },
                },
            },
        }
    }
}

#[test]
fn a_file_is_mapped_and_says_what_it_holds() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("texts.store");
    let mut builder = DatastoreBuilder::new(VOCAB);
    builder.extend(&[1, 2]).expect("valid");
    builder.extend(&[3]).expect("valid");
    builder.end_document();
    builder.end_document();
    builder.document(&[1, 2, 4, 5]).expect("valid");
    let mut stages = Vec::new();
    let mut progress = |stage, share: f32| {
        assert!((0.0..=1.0).contains(&share));
        stages.push(stage);
        true
    };
    builder.write(&path, &mut progress).expect("writable");
    assert_eq!(stages.first(), Some(&BuildStage::Sort));
    assert_eq!(stages.last(), Some(&BuildStage::Write));
    let store = Datastore::open(&path).expect("just written");
    assert_eq!((store.tokens(), store.documents(), store.entry_bytes()), (9, 2, 4));
    assert_eq!(store.bytes(), 128 + 9 * 8);
    let context = [0, 1, 2];
    let matches = store.find(&context, 16, 2).expect("sound").expect("1 2 is there");
    assert_eq!((matches.matched, matches.count()), (2, 2));
    let places = store.places(&matches, &context, 10).expect("sound");
    let follows: Vec<Vec<u32>> =
        places.iter().map(|&p| store.continuation(p, 9).expect("sound")).collect();
    assert_eq!(follows, [vec![3], vec![4, 5]], "documents do not run into each other");
    let names: Vec<_> = std::fs::read_dir(dir.path()).expect("there").collect();
    assert_eq!(names.len(), 1, "nothing is left beside it");
}

#[test]
fn a_limit_takes_places_in_proportion() {
    let mut text = Vec::new();
    for i in 0..400 {
        text.extend([0, 1, if i % 4 == 0 { 3 } else { 2 }]);
    }
    let store = store(&[text]);
    let matches = store.find(&[0, 1], 16, 2).expect("sound").expect("there");
    assert_eq!(matches.count(), 400);
    let places = store.places(&matches, &[0, 1], 40).expect("sound");
    let threes = places.iter().filter(|&&p| store.raw_token(p) == 3).count();
    assert_eq!((places.len(), threes), (40, 10));
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let good = bytes_of(&[vec![1, 2, 3, 1, 2]]);
    let message = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let opened = Datastore::new("texts.store".into(), Bytes::Owned(bytes));
        let error = match opened {
            Err(error) => error,
            Ok(store) => {
                let matches = store.find(&[1, 2], 16, 2);
                let places = matches.and_then(|m| store.places(&m.expect("1 2"), &[1, 2], 9));
                let follow = |at| store.continuation(at, 9).map(|_| ());
                places
                    .and_then(|places| places.into_iter().try_for_each(follow))
                    .expect_err("the damage is on the way")
            }
        };
        assert!(error.hint().is_some_and(|hint| hint.contains("datastore build")));
        error.to_string()
    };
    let set = |at: usize, value: u8| move |bytes: &mut Vec<u8>| bytes[at] = value;
    for (change, wanted) in [
        (&set(0, b'X') as &dyn Fn(&mut Vec<u8>), "does not begin with `COPPICED`"),
        (&set(8, 9), "version 9, wanted 1"),
        (&set(12, 3), "entries of 3 bytes"),
        (&set(16, 0), "a vocabulary of 0 tokens"),
        (&set(56, 7), "7 tokens with entries of 4 bytes need 184 bytes, the file has 176"),
        (&set(63, 0xff), "more than 2^64"),
        (&set(64, 0), "0 documents in 6 tokens"),
        (&set(72, 1), "sorted to 1 tokens"),
        (&set(100, 1), "are not zero"),
        (&|bytes| bytes.truncate(100), "100 bytes, its header alone has 128"),
        (&set(128 + 8, 9), "token 2 is 9, beyond the vocabulary of 6"),
        (&set(128 + 24 + 4, 200), "entry 1 of the suffix array is 200, but there are 6 tokens"),
    ] {
        let text = message(change);
        assert!(text.contains(wanted) && text.starts_with("texts.store: "), "{text} / {wanted}");
    }
}

#[test]
fn another_vocabulary_and_wrong_ids_are_refused() {
    let store = store(&[vec![1]]);
    store.check_vocabulary(VOCAB).expect("its own");
    let other = VocabularyId { tokens: 9, hash: [0xab; 32] };
    let error = store.check_vocabulary(other).expect_err("another");
    let text = error.to_string();
    assert!(text.contains("6 tokens, hash 07070707") && text.contains("9 tokens, hash abab"));
    let mut builder = DatastoreBuilder::new(VOCAB);
    let error = builder.document(&[1, 6]).expect_err("6 is the first that is none");
    assert!(error.to_string().contains("token 6"), "{error}");
    let error = builder.to_bytes(&mut |_, _| true).expect_err("nothing was added");
    assert!(error.to_string().contains("no tokens"), "{error}");
}

#[test]
fn a_stopped_build_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for stop_at in [BuildStage::Sort, BuildStage::Write] {
        let mut builder = DatastoreBuilder::new(VOCAB);
        builder.document(&[1, 2, 3]).expect("valid");
        let path = dir.path().join("never");
        let result = builder.write(&path, &mut |stage, _| stage != stop_at);
        assert!(matches!(result, Err(Error::Cancelled)), "{stop_at:?}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
    }
}
