package fs

import (
	"sync"
	"syscall"
)

// States of a tree. They are never left.
const (
	stateFrozen   = 1 << iota // changes give EROFS
	statePoisoned             // everything gives EIO
	stateClosed               // everything gives EIO
)

func (t *Tree) setState(state uint32) (before uint32) { return t.state.Or(state) }

// refuse tells why nothing can be read: EIO, or 0 if it can.
func (t *Tree) refuse() syscall.Errno {
	if t.state.Load()&(statePoisoned|stateClosed) != 0 {
		return syscall.EIO
	}
	return 0
}

// refuseChange tells why nothing can be changed: EIO, EROFS, or 0 if it can. It
// is asked under the lock that the change is made under, so that Freeze can wait
// for changes under way.
// Preconditions: Tree.mu is held for writing, or the Inode.mu of what changes.
func (t *Tree) refuseChange() syscall.Errno {
	if errno := t.refuse(); errno != 0 {
		return errno
	}
	if t.state.Load()&stateFrozen != 0 {
		return syscall.EROFS
	}
	return 0
}

// lockChange locks n to be changed. On an errno it is not locked.
func (t *Tree) lockChange(n *Inode) syscall.Errno {
	n.mu.Lock()
	errno := t.refuseChange()
	if errno != 0 {
		n.mu.Unlock()
		return errno
	}
	return 0
}

// Freeze makes everything that would change the tree give EROFS from now on.
// When it returns, no change is under way any more. There is no way back.
func (t *Tree) Freeze() {
	t.setState(stateFrozen)
	passThrough(&t.mu)
	for n := range t.inodes.all() {
		passThrough(&n.mu)
	}
}

// Frozen tells whether Freeze was called.
func (t *Tree) Frozen() bool { return t.state.Load()&stateFrozen != 0 }

// passThrough waits until those who hold a lock now have given it back.
func passThrough(l sync.Locker) {
	l.Lock()
	defer l.Unlock()
}

// Poison makes every operation give EIO from now on: the tree may be wrong. The
// first cause is kept for Err.
func (t *Tree) Poison(cause error) {
	t.setState(statePoisoned)
	t.keepCause(cause)
	t.log.Error("tree is poisoned: every operation fails from now on", "cause", cause)
}

func (t *Tree) keepCause(cause error) {
	t.errMu.Lock()
	defer t.errMu.Unlock()
	if t.err == nil {
		t.err = cause
	}
}

// Err is the first cause of Poison, or else what a file with a name has lost; nil
// if the tree is what its users think it is.
func (t *Tree) Err() error {
	t.errMu.Lock()
	err := t.err
	t.errMu.Unlock()
	if err != nil {
		return err
	}
	return t.lossErr()
}

// Poisoned tells whether every operation gives EIO. Attr and Get, which have no
// errno, answer nevertheless: who serves them asks here first.
func (t *Tree) Poisoned() bool { return t.refuse() != 0 }
