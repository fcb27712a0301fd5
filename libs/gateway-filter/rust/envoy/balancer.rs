//! The balancer of endpoints with affinity, as Envoy calls it on each worker's thread. `affinity.rs` decides.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::abi::{self, BalancerPointer, Buffer, ConfigPointer, ContextPointer, ModulePointer};
use crate::affinity::{KEY_HEADER, Replica, choose, identity};

/// Envoy's object of the configuration, for counters: it outlives the balancers.
struct Config {
    envoy: ConfigPointer,
    faults: usize,
    limit: u64,
}

// SAFETY: Envoy's counters may be used by every thread, and nothing else of the object is.
unsafe impl Send for Config {}
// SAFETY: as above.
unsafe impl Sync for Config {}

struct Balancer {
    config: Arc<Config>,
    turn: Cell<u64>,
}

/// The replicas of a cluster, and the request, during one call.
struct Choice {
    envoy: BalancerPointer,
    context: ContextPointer,
}

impl Choice {
    /// The replicas that are healthy, in Envoy's order.
    fn replicas(&self) -> Vec<Replica> {
        // SAFETY: the pointers are those of the hook's call; Envoy checks each number.
        let (healthy, all) = unsafe {
            (
                abi::envoy_dynamic_module_callback_lb_get_healthy_hosts_count(self.envoy, 0),
                abi::envoy_dynamic_module_callback_lb_get_hosts_count(self.envoy, 0),
            )
        };
        let mut number = 0;
        (0..healthy)
            .map(|at| {
                let address = self.address(abi::envoy_dynamic_module_callback_lb_get_healthy_host_address, at);
                // Healthy replicas are in the order of all replicas.
                number = (number..all)
                    .find(|number| {
                        self.address(abi::envoy_dynamic_module_callback_lb_get_host_address, *number) == address
                    })
                    .unwrap_or(number);
                self.replica(at, number, address)
            })
            .collect()
    }

    fn replica(&self, healthy: usize, number: usize, address: &[u8]) -> Replica {
        let mut room = 0.0;
        // SAFETY: as above.
        unsafe {
            let (namespace, key) = (Buffer::of(b"arks"), Buffer::of(b"room"));
            abi::envoy_dynamic_module_callback_lb_get_host_metadata_number(
                self.envoy,
                0,
                number,
                namespace,
                key,
                &raw mut room,
            );
            Replica {
                identity: identity(address),
                weight: abi::envoy_dynamic_module_callback_lb_get_healthy_host_weight(self.envoy, 0, healthy).into(),
                load: abi::envoy_dynamic_module_callback_lb_get_host_stat(self.envoy, 0, number, abi::REQUESTS_IN_FLIGHT),
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
                room: room as u64,
                is_avoided: abi::envoy_dynamic_module_callback_lb_context_should_select_another_host(
                    self.envoy,
                    self.context,
                    0,
                    number,
                ),
            }
        }
    }

    fn address(&self, of: abi::AddressOf, at: usize) -> &[u8] {
        let mut found = Buffer::NONE;
        // SAFETY: Envoy's bytes live as long as the replica, which it keeps during the hook.
        unsafe {
            of(self.envoy, 0, at, &raw mut found);
            found.bytes()
        }
    }

    fn key(&self) -> Option<u64> {
        let mut found = Buffer::NONE;
        // SAFETY: Envoy's bytes are valid during the hook.
        let value = unsafe {
            abi::envoy_dynamic_module_callback_lb_context_get_downstream_header(
                self.context,
                Buffer::of(KEY_HEADER.as_bytes()),
                &raw mut found,
                0,
                std::ptr::null_mut(),
            )
            .then(|| found.bytes())
        };
        u64::from_str_radix(std::str::from_utf8(value?).ok()?, 16).ok()
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_lb_config_new(
    envoy: ConfigPointer,
    _name: Buffer,
    limit: Buffer,
) -> ModulePointer {
    // SAFETY: Envoy's buffer is valid during the call.
    let limit = std::str::from_utf8(unsafe { limit.bytes() }).ok().and_then(|limit| limit.parse().ok());
    let Some(limit) = limit else { return std::ptr::null() };
    let mut faults = 0;
    // SAFETY: a counter without labels needs none.
    unsafe {
        abi::envoy_dynamic_module_callback_lb_config_define_counter(
            envoy,
            Buffer::of(b"faults"),
            std::ptr::null_mut(),
            0,
            &raw mut faults,
        );
    }
    Arc::into_raw(Arc::new(Config { envoy, faults, limit })).cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_lb_config_destroy(config: ModulePointer) {
    // SAFETY: Envoy passes what `lb_config_new` returned, once.
    drop(unsafe { Arc::from_raw(config.cast::<Config>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_lb_new(config: ModulePointer, _: BalancerPointer) -> ModulePointer {
    // SAFETY: Envoy passes what `lb_config_new` returned, and keeps it while balancers use it.
    let config = unsafe {
        Arc::increment_strong_count(config.cast::<Config>());
        Arc::from_raw(config.cast::<Config>())
    };
    Box::into_raw(Box::new(Balancer { config, turn: Cell::new(0) })).cast_const().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_lb_destroy(balancer: ModulePointer) {
    // SAFETY: Envoy passes what `lb_new` returned, once.
    drop(unsafe { Box::from_raw(balancer.cast_mut().cast::<Balancer>()) });
}

/// Weights, addresses and loads are read at each choice, so nothing depends on changes of the replicas.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_lb_on_host_membership_update(
    _: BalancerPointer,
    _: ModulePointer,
    _added: usize,
    _removed: usize,
) {
}

/// Writes the priority and the number among the healthy replicas. False: there is none, and the request gets 503.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_lb_choose_host(
    envoy: BalancerPointer,
    balancer: ModulePointer,
    context: ContextPointer,
    priority: *mut u32,
    number: *mut u32,
) -> bool {
    // SAFETY: Envoy passes what `lb_new` returned, until `lb_destroy`.
    let Balancer { config, turn } = unsafe { &*balancer.cast::<Balancer>() };
    let found = catch_unwind(AssertUnwindSafe(|| {
        let choice = Choice { envoy, context };
        turn.set(turn.get().wrapping_add(1));
        choose(&choice.replicas(), choice.key(), config.limit, turn.get())
    }));
    if found.is_err() {
        // SAFETY: the configuration lives while its balancers do; a counter without labels needs none.
        unsafe {
            let counter = config.faults;
            abi::envoy_dynamic_module_callback_lb_config_increment_counter(
                config.envoy,
                counter,
                std::ptr::null_mut(),
                0,
                1,
            );
        }
    }
    let Some(at) = found.ok().flatten().and_then(|at| u32::try_from(at).ok()) else { return false };
    // SAFETY: both point to variables of the caller.
    unsafe {
        *priority = 0;
        *number = at;
    }
    true
}
