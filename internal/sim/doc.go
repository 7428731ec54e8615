// Package sim runs attempts at steps of workflows, stores, networks and clocks from one
// seed, in virtual time, over the code that commits: store.Commit, store.Step,
// store.Compose and the log of archive.
//
// It does not know mounts, FUSE or Temporal's SDK. An attempt here does what a mount and
// an activity do in this order: open, ask the log whether the step was committed, work,
// commit under a fence, and after a conflict ask the log again.
//
// # The one hard idea
//
// Everything that could happen in another order is a request: to the store, or to the
// server that schedules attempts. A client that makes one blocks. Once all clients are
// blocked, which a synctest bubble tells, the scheduler chooses what comes next: a
// request that arrives, one that is lost, one that has its effect while its answer is
// lost, one that arrives twice or long after its client has given up, a client that
// dies, time that passes, an operator who resets an activity, another program that
// writes to the bucket. Effects happen in the scheduler alone, so a seed is a schedule.
//
// Choices are numbers, and 0 is the choice in which nothing goes wrong. A schedule that
// breaks a rule is shrunk by turning choices into zeros, so that what is printed has the
// faults that matter and no others.
package sim
