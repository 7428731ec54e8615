package fs

import (
	"sync"
	"syscall"
)

// States of a tree. A tree never leaves a state.
const (
	stateFrozen   = 1 << iota // changes return EROFS
	statePoisoned             // everything returns EIO
	stateClosed               // everything returns EIO
)

func (t *Tree) setState(state uint32) (before uint32) { return t.state.Or(state) }

// refuse returns why nothing can be read: EIO, or 0 if it can.
func (t *Tree) refuse() syscall.Errno {
	if t.state.Load()&(statePoisoned|stateClosed) != 0 {
		return syscall.EIO
	}
	return 0
}

// refuseChange returns why nothing can be changed: EIO, EROFS, or 0 if it can. It is called
// under the lock under which the change is made, so that Freeze can wait for changes under
// way.
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

// lockChange locks n for a change. On an errno it is not locked.
func (t *Tree) lockChange(n *Inode) syscall.Errno {
	n.mu.Lock()
	errno := t.refuseChange()
	if errno != 0 {
		n.mu.Unlock()
		return errno
	}
	return 0
}

// Freeze makes every change of the tree return EROFS from now on. When it returns, no
// change is under way any more. It cannot be undone.
func (t *Tree) Freeze() {
	t.setState(stateFrozen)
	passThrough(&t.mu)
	for n := range t.inodes.all() {
		passThrough(&n.mu)
	}
}

// Frozen reports whether Freeze was called.
func (t *Tree) Frozen() bool { return t.state.Load()&stateFrozen != 0 }

// passThrough waits until the present holders of a lock have released it.
func passThrough(l sync.Locker) {
	l.Lock()
	defer l.Unlock()
}

// Poison makes every operation return EIO from now on: the tree may be wrong. The first
// cause is kept for Err.
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

// Err returns the first cause of Poison, or else an error for a file with a name that has
// lost bytes; nil if the tree is what its users think it is.
func (t *Tree) Err() error {
	t.errMu.Lock()
	err := t.err
	t.errMu.Unlock()
	if err != nil {
		return err
	}
	return t.lossErr()
}

// Poisoned reports whether every operation returns EIO. Attr and Get, which have no errno,
// still answer, so the code that serves them asks here first.
func (t *Tree) Poisoned() bool { return t.refuse() != 0 }
