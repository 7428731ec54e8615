// Package sim simulates attempts at steps of workflows, stores, networks and clocks from one
// seed, in virtual time, around the real commit code: store.Commit, store.Step, store.Compose
// and the log of archive.
//
// It does not know mounts, FUSE or Temporal's SDK. An attempt here does the same as a mount
// and an activity, in this order: open, check the log for a commit of the step, work, commit
// under a fence, and after a conflict check the log once more.
//
// # The one hard idea
//
// Everything whose order can vary is a request: to the store, or to the server that schedules
// attempts. A client that makes one blocks. Once all clients are blocked, which a synctest
// bubble detects, the scheduler chooses the next event: a request that arrives, one that is
// lost, one that has its effect while its answer is lost, one that arrives twice or long after
// its client has given up, a client that dies, time that passes, an operator who resets an
// activity, another program that writes to the bucket. Effects happen in the scheduler alone,
// so a seed is a schedule.
//
// Choices are numbers, and 0 is the choice in which nothing goes wrong. A schedule that breaks
// a rule is shrunk by turning choices into zeros, so that the printed one has only the faults
// that matter.
package sim
