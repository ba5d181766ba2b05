//! Names are the field's own: words that were this project's alone may not come back, and a type's name
//! means one thing in its room.

use std::collections::BTreeMap;

use super::{
    ProjectRule, Rule,
    rooms::room_of,
    source::{Fault, Source, Token},
};

pub const RULES: &[Rule] = &[
    Rule {
        name: "no private word in a type's name",
        check: private_types,
        broken: ("src/nn/fused/mod.rs", "//! Kernels.\nstruct StemWeights;\n"),
    },
    Rule {
        name: "no participle or everyday word for a type",
        check: private_types,
        broken: ("src/inspect/report.rs", "//! Reports.\npub enum Inspected {}\n"),
    },
    Rule {
        name: "no private word in a function's name",
        check: private_functions,
        broken: ("src/runs/slots.rs", "//! Slots.\nfn hand_on_slot() {}\n"),
    },
    Rule {
        name: "no message made from a participle",
        check: private_functions,
        broken: ("src/server/convert/inspection.rs", "//! Inspections.\nfn from_inspected() {}\n"),
    },
    Rule {
        name: "no private word in a file's name",
        check: private_file,
        broken: ("src/runs/looking.rs", "//! Snapshots.\n"),
    },
];

pub const PROJECT_RULES: &[ProjectRule] = &[ProjectRule {
    name: "a type's name stands once in a room",
    check: types_twice,
    broken: &[&[
        ("src/runs/watch.rs", "//! Watching.\npub struct Cursor;\n"),
        ("src/runs/log/mod.rs", "//! The log.\ntype Cursor = u32;\n"),
    ]],
}];

/// Words, or words in a row, that stand in no name of a type, a function or a file, and what to say instead.
const WORDS: &[(&str, &str)] = &[
    ("contest", "PairedComparison"),
    ("dealt", "split"),
    ("dialogue", "bidi_stream"),
    ("give_way", "yield_cpu"),
    ("hand_on", "grant_next"),
    ("lent", "a permit"),
    ("let_go", "evict or release"),
    ("looking", "a snapshot, or to inspect"),
    ("looks", "snapshots or requests"),
    ("manner", "options"),
    ("mend", "rewrite or repair"),
    ("owner", "ServerId or Lease"),
    ("pass_on", "yield_turn"),
    ("presence", "Lease"),
    ("settle", "commit or finish"),
    ("settled", "committed or finished"),
    ("shelf", "a buffer"),
    ("sitter", "AnalysisContext"),
    ("stem", "fused"),
    ("studied", "Attributions"),
    ("study", "AttributionRequest"),
    ("take_away", "remove"),
    ("told", "logged or reported"),
    ("unfit", "a mismatch"),
    ("unmet", "FailedRequirements"),
    ("unresolve", "evict"),
    ("wish", "a reason or a request"),
];

/// Words that alone are no name of a type, and what to say instead. Beside another word they may be right.
const TYPES: &[(&str, &str)] = &[
    ("About", "ModelInfo"),
    ("Answers", "Predictions or ResponseStream"),
    ("Asked", "PendingResolve, or what was requested"),
    ("Closing", "RunFinisher"),
    ("Compared", "Comparison"),
    ("Course", "ProgressReporter"),
    ("Created", "PutOutcome"),
    ("Ending", "FinishReason, or the guard that it is"),
    ("Entry", "the thing that is listed"),
    ("Evaluated", "EvaluationReport"),
    ("Expected", "Precondition"),
    ("Extent", "the size or options that it is"),
    ("Facts", "DatasetInfo"),
    ("Figures", "ModelStats"),
    ("Fitted", "TemperatureFit"),
    ("Fold", "SummaryBuilder"),
    ("Followed", "WatchResult"),
    ("Found", "the outcome of what was searched"),
    ("Given", "BackwardInput, or what the input is"),
    ("Go", "RunHandles"),
    ("Guard", "what it does when it is dropped, as CancelOnDrop"),
    ("Half", "Bf16"),
    ("Head", "LogTail"),
    ("Held", "SlotPermit"),
    ("Holder", "ActiveRun"),
    ("Host", "EmbeddedServer"),
    ("Imported", "ImportedVersion"),
    ("Ink", "Color"),
    ("Inspected", "Inspection"),
    ("Laps", "Stopwatch"),
    ("Largest", "PoolArgmax"),
    ("Life", "the state machine that it is"),
    ("Look", "WeightSnapshot"),
    ("Memory", "MonitorState"),
    ("Moment", "StepId"),
    ("Move", "AliasUpdate"),
    ("Note", "AuditNote"),
    ("Opening", "LogInit"),
    ("Pace", "Throughput"),
    ("Part", "what it is a part of"),
    ("Pieces", "ChunkStream"),
    ("Place", "what stands there, as StoreLocation"),
    ("Position", "Progress"),
    ("Predicted", "PredictionBatch"),
    ("Pull", "InputGradTerm"),
    ("Question", "InferParams"),
    ("Reader", "DecodePool"),
    ("Reads", "InputSpec"),
    ("Return", "BackwardPart"),
    ("Room", "Scratch"),
    ("Scene", "DrawingInputs"),
    ("Seen", "DecodedImages, or what was counted"),
    ("Showing", "ContentsCollector"),
    ("Shown", "SubjectInfo"),
    ("Silent", "DeadChannelTracker"),
    ("Span", "DurationTotal; spans are tracing's"),
    ("Spent", "StepTimings"),
    ("Spread", "PaddedWeights"),
    ("Start", "InitialWeights"),
    ("Stop", "StopSignal"),
    ("Stored", "ParameterValues"),
    ("Sums", "what is summed"),
    ("Trace", "SavedActivations"),
    ("Transfers", "TransferLimit"),
    ("Unread", "EncodedImages"),
    ("Waiting", "QueuedRun"),
    ("Wanted", "RequestedOutput"),
    ("Weight", "Cost, where no network's weight is meant"),
    ("Whole", "FusedNetwork"),
];

/// Files that stand in for a room's own where the processor is another one; they define the same names.
const ALTERNATIVES: [&str; 1] = ["src/nn/fused/portable.rs"];

fn private_types(source: &Source) -> Vec<Fault> {
    let names = types(source).chain(source.find(&["union", "*", "{"]).map(|union| &union[1]));
    let faults = names.filter_map(|name| {
        let whole = TYPES.iter().find(|(word, _)| *word == name.text);
        let (word, better) = whole.or_else(|| private_word(&snake_case(&name.text)))?;
        Some(private(name.line, word, better))
    });
    faults.collect()
}

fn private_functions(source: &Source) -> Vec<Fault> {
    // Tests are named by sentences, in which each of the words may be right.
    let names = source.find(&["fn", "*"]).map(|pair| &pair[1]).filter(|name| !name.test);
    let faults = names.filter_map(|name| {
        let made_of = name.text.strip_prefix("from_");
        let whole = TYPES.iter().find(|(word, _)| made_of.is_some_and(|made| made == snake_case(word)));
        let (word, better) = whole.or_else(|| private_word(&name.text))?;
        Some(private(name.line, word, better))
    });
    faults.collect()
}

fn private_file(source: &Source) -> Vec<Fault> {
    if !source.is_rust() {
        return Vec::new();
    }
    let folders = source.path.trim_end_matches(".rs").split('/');
    folders.filter_map(private_word).map(|(word, better)| private(1, word, better)).collect()
}

fn private(line: usize, word: &str, better: &str) -> Fault {
    Fault::new(line, format!("`{word}` is no word of the field; say {better}"))
}

/// The first private word in a name of snake_case.
fn private_word(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let name = format!("_{name}_");
    WORDS.iter().find(|(word, _)| name.contains(&format!("_{word}_")))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The names of a file's types and traits, without associated types.
fn types(source: &Source) -> impl Iterator<Item = &Token> {
    let mut depth = 0;
    source.tokens.windows(2).filter_map(move |pair| {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" => return Some(&pair[1]),
            // Within a trait or an `impl` it is an associated type.
            "type" if depth == pair[0].modules => return Some(&pair[1]),
            _ => {}
        }
        None
    })
}

fn types_twice(sources: &[Source]) -> Vec<(String, Fault)> {
    let mut first: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !ALTERNATIVES.contains(&source.path.as_str())) {
        let Some(room) = room_of(&source.path) else { continue };
        for name in types(source).filter(|name| !name.test && name.text != "Error") {
            if let Some(other) = first.insert((room, &name.text), &source.path) {
                let message = format!("`{}` is a type in {other} too; `{room}` needs two names", name.text);
                faults.push((source.path.clone(), Fault::new(name.line, message)));
            }
        }
    }
    faults
}

#[test]
fn words_of_the_field_are_no_private_words() {
    let text = "//! Loading.\nstruct ResolveGuard;\nstruct ActiveRun;\ntrait Load { type Entry; }\n\
                fn look_up() {}\nfn system() {}\nfn recommend() {}\nfn never_predicted() {}\n\
                #[cfg(test)]\nmod tests { fn a_run_is_told_as_failed() {} }\n";
    let source = Source::new("src/serving/loading.rs", text);
    for rule in RULES {
        assert_eq!((rule.check)(&source), [], "rule `{}` cries wolf", rule.name);
    }
}
