//! Tables, accounts, rejections and the starts file, for the tests in Python. Numbers are decimal; a truth is `1` or
//! absent; what lives between calls has a number.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::admission::is_plain_name;
use crate::amounts::{Amount, Grant, Reservation, Terms, Wish, estimate, parse_grant, parse_terms};
use crate::confirmations::Confirmations;
use crate::leases::{Account, Due};
use crate::line_file::LineFile;
use crate::ratio::{PromptBytes, Ratio};
use crate::rejections::{Answer, Rejections, Reply, Scope, parse_refusal};
use crate::renewals::Ticket;
use crate::tables::Table;
use crate::testing::Members;

#[derive(Default)]
struct State {
    tables: Vec<Table<Vec<u8>>>,
    accounts: Vec<(Table<Account>, Confirmations, Option<Arc<Ticket>>)>,
    rejections: Vec<Rejections>,
    starts: Vec<LineFile>,
    ratios: Vec<Ratio>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

const KEY: &[u8] = b"key";

/// Runs a function of these parts; `None` if there is none of that name.
pub fn call(name: &str, arguments: &[Option<Vec<u8>>]) -> Option<Members> {
    let arguments = Arguments(arguments);
    STATE.with_borrow_mut(|state| {
        pure(name, &arguments)
            .or_else(|| of_table(name, &arguments, state))
            .or_else(|| of_account(name, &arguments, state))
            .or_else(|| of_rejections(name, &arguments, state))
            .or_else(|| of_starts(name, &arguments, state))
            .or_else(|| of_ratio(name, &arguments, state))
    })
}

struct Arguments<'call>(&'call [Option<Vec<u8>>]);

impl Arguments<'_> {
    fn bytes(&self, at: usize) -> &[u8] {
        self.optional(at).unwrap_or_default()
    }

    fn optional(&self, at: usize) -> Option<&[u8]> {
        self.0.get(at)?.as_deref()
    }

    fn number(&self, at: usize) -> i64 {
        self.optional_number(at).expect("a number")
    }

    fn optional_number(&self, at: usize) -> Option<i64> {
        std::str::from_utf8(self.optional(at)?).ok()?.parse().ok()
    }

    fn text(&self, at: usize) -> &str {
        std::str::from_utf8(self.bytes(at)).expect("text")
    }

    fn handle(&self) -> usize {
        usize::try_from(self.number(0)).expect("a handle")
    }
}

fn numbers<const COUNT: usize>(values: [i64; COUNT]) -> Members {
    values.map(|value| Some(value.to_string().into_bytes())).into()
}

fn truth(value: bool) -> Members {
    vec![value.then(|| b"1".to_vec())]
}

fn handle(count: usize) -> Members {
    vec![Some((count - 1).to_string().into_bytes())]
}

fn pure(name: &str, arguments: &Arguments) -> Option<Members> {
    Some(match name {
        "parse_grant" => match parse_grant(arguments.bytes(0)) {
            None => vec![],
            Some(Grant { subject, lease, reserved }) => {
                let mut members = vec![Some(subject.into_bytes()), Some(lease.into_bytes())];
                members.extend(numbers([reserved.prompt, reserved.completion]));
                members
            }
        },
        "parse_terms" => match parse_terms(arguments.bytes(0)) {
            None => vec![],
            Some(Terms { amount: Amount { requests, prompt, completion }, milliseconds, default_completion }) => {
                numbers([requests, prompt, completion, milliseconds, default_completion])
            }
        },
        "parse_refusal" => match parse_refusal(arguments.bytes(0)) {
            None => vec![],
            Some((milliseconds, scope)) => {
                let scope: &[u8] = match scope {
                    Scope::Key => b"key",
                    Scope::Model => b"model",
                    Scope::Size => b"size",
                };
                let mut members = numbers([milliseconds]);
                members.push(Some(scope.to_vec()));
                members
            }
        },
        "estimate" => {
            let wish = Wish {
                prompt: Ratio::default().tokens(PromptBytes { all: arguments.number(1).unsigned_abs(), media: 0 }),
                max_tokens: arguments.optional_number(2).map(i64::unsigned_abs),
                answers: arguments.optional_number(3).map_or(1, |answers| u32::try_from(answers).expect("few")),
                is_embedding: arguments.bytes(0) == b"embeddings",
            };
            let (prompt, completion, least) = estimate(wish, arguments.optional_number(4));
            let completion = completion.map(|completion| completion.to_string().into_bytes());
            vec![Some(prompt.to_string().into_bytes()), completion, Some(least.to_string().into_bytes())]
        }
        "keeps" => {
            let unsupported = arguments.optional(1).map(|text| String::from_utf8_lossy(text).into_owned());
            let mut account = Account::default();
            account.unsupported = unsupported;
            truth(account.keeps(arguments.optional(0).map(|_| arguments.text(0))))
        }
        "is_plain_name" => truth(is_plain_name(arguments.bytes(0))),
        _ => return None,
    })
}

fn of_table(name: &str, arguments: &Arguments, state: &mut State) -> Option<Members> {
    if name == "table_new" {
        let limits = [arguments.number(0), arguments.number(1)].map(|limit| usize::try_from(limit).expect("a limit"));
        state.tables.push(Table::new(limits[0], limits[1]));
        return Some(handle(state.tables.len()));
    }
    if !name.starts_with("table_") {
        return None;
    }
    let table = &mut state.tables[arguments.handle()];
    Some(match name {
        "table_put" => {
            table.put(arguments.bytes(1).to_vec(), arguments.bytes(2).to_vec());
            vec![]
        }
        "table_get" => vec![table.get(arguments.bytes(1)).cloned()],
        "table_sizes" => {
            let [(young, young_bytes), (old, old_bytes)] = table.sizes();
            numbers([young, young_bytes, old, old_bytes].map(|size| i64::try_from(size).expect("a size")))
        }
        _ => return None,
    })
}

fn of_account(name: &str, arguments: &Arguments, state: &mut State) -> Option<Members> {
    if name == "account_new" {
        let mut accounts = Table::default();
        accounts.put(KEY.to_vec(), Account::default());
        state.accounts.push((accounts, Confirmations::default(), None));
        return Some(handle(state.accounts.len()));
    }
    if !name.starts_with("account_") {
        return None;
    }
    let (accounts, confirmations, ticket) = &mut state.accounts[arguments.handle()];
    if name == "account_confirm" {
        let answer = arguments.optional(3).zip(arguments.optional(4));
        confirmations.confirm(accounts, (arguments.number(1), arguments.number(2)), answer);
        return Some(vec![]);
    }
    let account = accounts.get(KEY).expect("an account");
    Some(match name {
        "account_query" => {
            let (demand, is_demand) = account.begin_query(confirmations, arguments.number(1));
            let mut members = numbers([demand.requests, demand.prompt, demand.completion]);
            members.extend(truth(is_demand));
            members
        }
        "account_end_query" => {
            account.end_query(arguments.number(1));
            vec![]
        }
        "account_accept" => {
            let times = (arguments.number(1), arguments.number(2));
            let grant = parse_grant(arguments.bytes(3)).expect("a grant");
            let terms = parse_terms(arguments.bytes(4)).expect("terms");
            let (_, line) = account.accept(times, confirmations.round, &grant, terms, None);
            vec![Some(line.into_bytes())]
        }
        "account_take" => {
            let request = Reservation { prompt: arguments.number(2), completion: arguments.number(3) };
            truth(account.take(confirmations, arguments.number(1), request).is_some())
        }
        "account_renews" => {
            let request = Reservation { prompt: arguments.number(2), completion: arguments.number(3) };
            match account.renews(arguments.number(1), request) {
                None => vec![],
                Some(Due::NearlyUsedUp) => vec![None],
                Some(Due::Ends(remaining)) => numbers([remaining]),
            }
        }
        "account_begin_renewal" => {
            let begun = Arc::new(Ticket::new(arguments.number(1), confirmations.round));
            *ticket = Some(Arc::clone(&begun));
            let Amount { requests, prompt, completion } = account.begin_renewal(confirmations, begun);
            numbers([requests, prompt, completion])
        }
        "account_end_renewal" => {
            let names = ["x-arks-grant", "x-arks-lease", "x-arks-begins"];
            let values = names.iter().enumerate().map(|(at, name)| (*name, arguments.optional(at + 3)));
            let headers = values.filter_map(|(name, value)| Some((name.as_bytes().to_vec(), value?.to_vec())));
            let answer = Answer { status: 200, headers: headers.collect(), body: vec![] };
            let mut starts = LineFile::new(PathBuf::from(arguments.text(2)));
            ticket.take().expect("a renewal").finish(answer, &mut starts, arguments.number(1));
            vec![]
        }
        "account_use_renewal" => {
            let request = Reservation { prompt: arguments.number(2), completion: arguments.number(3) };
            let now = arguments.number(1);
            let taken = account.take_renewal(now, request);
            let used = taken.as_ref().and_then(|taken| Some((taken.round, taken.renewed()?)));
            let used = used.filter(|(_, renewed)| now < renewed.span.stop);
            if let Some((round, renewed)) = used {
                account.keep((renewed.span, now), round, &renewed.grant, renewed.terms, None);
            }
            truth(used.is_some())
        }
        "account_needs_confirmation" => truth(confirmations.is_needed(account.lease(), arguments.number(1))),
        "account_since" => numbers([confirmations.begin(arguments.number(1))]),
        "account_policy" => {
            account.passes_outage = arguments.bytes(1) == b"pass";
            vec![]
        }
        "account_outage" => truth(account.outage_lease(arguments.number(1)).is_some()),
        _ => return None,
    })
}

fn of_rejections(name: &str, arguments: &Arguments, state: &mut State) -> Option<Members> {
    if name == "rejections_new" {
        state.rejections.push(Rejections::default());
        return Some(handle(state.rejections.len()));
    }
    if !name.starts_with("rejections_") {
        return None;
    }
    let rejections = &mut state.rejections[arguments.handle()];
    Some(match name {
        "rejections_hold" => {
            let reply = Reply { status: 429, headers: vec![], body: arguments.bytes(4).to_vec() };
            let needs = (arguments.number(5), arguments.number(6));
            let times = (arguments.number(2), arguments.number(3), arguments.optional_number(7).unwrap_or(0));
            rejections.hold(arguments.bytes(1).to_vec(), times, reply, needs);
            vec![]
        }
        "rejections_held" => {
            let needs = (arguments.number(3), arguments.number(4));
            let held = rejections.held(arguments.bytes(1), arguments.number(2), needs);
            vec![held.map(|reply| Rc::unwrap_or_clone(reply).body)]
        }
        "rejections_lift" => {
            rejections.lift(arguments.bytes(1), (arguments.number(2), arguments.number(3)));
            vec![]
        }
        "rejections_held_in_outage" => {
            let needs = (arguments.number(3), arguments.number(4));
            let held = rejections.held_in_outage(arguments.bytes(1), arguments.number(2), needs);
            vec![held.map(|reply| Rc::unwrap_or_clone(reply).body)]
        }
        _ => return None,
    })
}

fn of_starts(name: &str, arguments: &Arguments, state: &mut State) -> Option<Members> {
    Some(match name {
        "starts_new" => {
            state.starts.push(LineFile::new(PathBuf::from(arguments.text(0))));
            handle(state.starts.len())
        }
        "starts_append" => {
            let starts = &mut state.starts[arguments.handle()];
            truth(starts.append(arguments.text(1), arguments.number(2)))
        }
        _ => return None,
    })
}

fn of_ratio(name: &str, arguments: &Arguments, state: &mut State) -> Option<Members> {
    let at = |number: usize| arguments.number(number).unsigned_abs();
    Some(match name {
        "ratio_new" => {
            state.ratios.push(Ratio::default());
            handle(state.ratios.len())
        }
        "ratio_measure" => {
            state.ratios[arguments.handle()].measure(at(1), at(2));
            vec![]
        }
        "ratio_tokens" => {
            let tokens = state.ratios[arguments.handle()].tokens(PromptBytes { all: at(1), media: at(2) });
            vec![Some(tokens.to_string().into_bytes())]
        }
        _ => return None,
    })
}
