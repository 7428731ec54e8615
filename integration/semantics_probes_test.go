package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// probes are by the names of the lines of docs/semantics.md.
var probes = map[string]probe{
	"statfs-type": now(func(t *testing.T, dir string) string {
		var st unix.Statfs_t
		must(t, unix.Statfs(dir, &st))
		return fmt.Sprintf("%#x", st.Type)
	}),
	"acl": now(func(_ *testing.T, dir string) string {
		// Version 2, and one entry for each of owner, group and others.
		acl := []byte("\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff")
		return outcome(unix.Setxattr(dir, "system.posix_acl_access", acl, 0))
	}),
	"atime-of-cached-pages": now(func(t *testing.T, dir string) string {
		name := filepath.Join(dir, "f")
		must(t, os.WriteFile(name, []byte("content"), 0o644))
		return atimeAfterReading(t, name, name)
	}),
	"noatime":                   now(noAtime),
	"sgid-of-another-group":     now(sgidOfAnotherGroup),
	"truncate-to-the-same-size": truncatedToSame("content"),
	"zero-range":                onFile(func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 0, 4096) }),
	"collapse-range":            onFile(func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096) }),
	"file-flags": onFile(func(fd int) error {
		_, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
		return err
	}),
	"reflink": onFile(func(fd int) error { return unix.IoctlFileClone(fd, fd) }),
	"fiemap": onFile(func(fd int) error {
		var request [32]byte // struct fiemap: the whole file, no extents
		for i := 8; i < 16; i++ {
			request[i] = 0xff
		}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 0xc020660b, uintptr(unsafe.Pointer(&request)))
		return orNil(errno)
	}),
	"seals": onFile(func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		return err
	}),
	"leases": onFile(func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
		return err
	}),
	"direct": onFile(func(fd int) error {
		direct, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(direct)
		}
		return err
	}),
	"direct-odd-length": now(func(t *testing.T, dir string) string {
		fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return outcome(err)
		}
		defer unix.Close(fd)
		return count(unix.Write(fd, []byte("odd")))
	}),
	"file-handles": now(func(t *testing.T, dir string) string {
		handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
		if err != nil {
			return outcome(err)
		}
		root, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(root)
		fd, err := unix.OpenByHandleAt(root, handle, unix.O_RDONLY|unix.O_CLOEXEC)
		if err == nil {
			err = unix.Close(fd)
		}
		return outcome(err)
	}),
	"whiteout": now(func(t *testing.T, dir string) string {
		name := filepath.Join(dir, "f")
		must(t, os.WriteFile(name, nil, 0o644))
		return outcome(unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, name+"2", unix.RENAME_WHITEOUT))
	}),
	"largest-file": onFile(func(fd int) error {
		return errors.Join(unix.Ftruncate(fd, 1<<63-1), unix.Ftruncate(fd, 0)) // a commit has a smaller limit
	}),
	"blocks-of-dirty-pages": now(func(t *testing.T, dir string) string {
		fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
		must(t, err)
		defer unix.Close(fd)
		_, err = unix.Write(fd, make([]byte, 8192))
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Fstat(fd, &st))
		return fmt.Sprint(st.Blocks)
	}),
	"mapped-hole":                  now(mappedHole),
	"mapped-write-again":           now(mappedWriteAgain),
	"mapped-beyond-the-end":        now(beyondTheEnd),
	"epoll":                        onFile(polled),
	"id-mapped-mount":              now(idMapped),
	"locks-of-one-process":         now(lockedTwice),
	"device-node":                  {alone: deviceNode},
	"dead-server":                  {alone: deadServer},
	"full-mount":                   {alone: fullMount},
	"file-that-lost-content":       {alone: fileThatLost},
	"mtime-in-a-nearly-full-mount": {alone: mtimeOfWrittenThrough},
	"all-free-in-one-file":         {alone: allFreeInOneFile},
	"mount-in-a-mount":             {alone: mountInMount},
	"mount-over-a-mount":           {alone: mountOverMount},
	"fanotify-of-a-file-system": now(func(t *testing.T, dir string) string {
		fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		return outcome(unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_CREATE|unix.FAN_ONDIR, unix.AT_FDCWD, dir))
	}),
	"swap-file": onFile(func(fd int) error {
		path := append([]byte(fmt.Sprintf("/proc/self/fd/%d", fd)), 0)
		_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(&path[0])), 0, 0)
		return orNil(errno)
	}),

	"reopening-what-was-removed": now(func(t *testing.T, dir string) string {
		name := filepath.Join(dir, "f")
		must(t, os.WriteFile(name, []byte("content"), 0o644))
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		must(t, os.Remove(name))
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return outcome(err)
		}
		return string(b)
	}),

	"socket": {
		before: func(t *testing.T, dir string) string {
			must(t, unix.Mknod(filepath.Join(dir, "x"), unix.S_IFSOCK|0o600, 0))
			return ""
		},
		after: func(_ *testing.T, dir string) string { return outcome(unix.Access(filepath.Join(dir, "x"), unix.F_OK)) },
	},
	"link-of-a-symlink": {
		before: func(t *testing.T, dir string) string {
			must(t, os.Symlink("target", filepath.Join(dir, "a")))
			must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
			return ""
		},
		after: func(t *testing.T, dir string) string { return fmt.Sprint(statOf(t, dir, "a").Nlink, " links") },
	},
	"link-of-a-fifo": {
		before: func(t *testing.T, dir string) string {
			must(t, unix.Mkfifo(filepath.Join(dir, "a"), 0o600))
			must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
			return ""
		},
		after: func(t *testing.T, dir string) string { return fmt.Sprint(statOf(t, dir, "a").Nlink, " links") },
	},
	"stored-acl":                     storedACL,
	"links-of-a-directory":           merged(func(st unix.Stat_t) string { return fmt.Sprint(st.Nlink, " links") }),
	"size-of-a-directory":            merged(func(st unix.Stat_t) string { return fmt.Sprint(st.Size) }),
	"mapped-before-the-first-change": onStored(mappedBeforeTheFirstChange),
	"opened-after-chmod":             onStored(openedAfterChmod),
	"changed-when-removed":           onStored(changedWhenRemoved),
	"ctime-of-a-copy":                onStored(ctimeOfACopy),
	"number-of-a-forgotten-file":     onStored(numberOfAForgottenFile),
	"link-of-a-forgotten-file":       onStored(linkOfAForgottenFile),
	"watch-of-a-forgotten-file":      onStored(watchOfAForgottenFile),
	"watch-of-a-forgotten-directory": onStored(watchOfAForgottenDirectory),
	"copied-range":                   onStored(copiedRange),
	"whiteout-device":                now(whiteoutDevice),
	"trusted-xattr":                  storedXattr("trusted.a", "v"),
	"security-xattr":                 storedXattr("security.a", "v"),
	"capability": storedXattr("security.capability",
		"\x00\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	"atime": {
		before: func(t *testing.T, dir string) string {
			name := filepath.Join(dir, "f")
			must(t, os.WriteFile(name, nil, 0o644))
			times := []unix.Timespec{{Sec: 1}, {Sec: 2}}
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, times, 0))
			return ""
		},
		after: func(t *testing.T, dir string) string { return fmt.Sprint("second ", statOf(t, dir, "f").Atim.Sec) },
	},
	"ctime":         storedStat(func(st *unix.Stat_t) any { return st.Ctim }),
	"inode-numbers": storedStat(func(st *unix.Stat_t) any { return st.Ino }),
	"written-zeros": {
		before: func(t *testing.T, dir string) string {
			must(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o644))
			return ""
		},
		after: func(t *testing.T, dir string) string { return fmt.Sprint(statOf(t, dir, "f").Blocks, " blocks") },
	},
	"allocated-memory": {
		before: func(t *testing.T, dir string) string {
			f, err := os.Create(filepath.Join(dir, "f"))
			must(t, err)
			must(t, unix.Fallocate(int(f.Fd()), 0, 0, 1<<20))
			must(t, f.Close())
			return ""
		},
		after: func(t *testing.T, dir string) string { return fmt.Sprint(statOf(t, dir, "f").Blocks, " blocks") },
	},
}

func orNil(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// noAtime reads a file through a mount of its own, which is nowhere attached.
func noAtime(t *testing.T, dir string) string {
	mount, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(t, err)
	defer unix.Close(mount)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOATIME, Attr_clr: unix.MOUNT_ATTR__ATIME}
	must(t, unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attr))
	name := filepath.Join(dir, "f")
	must(t, os.WriteFile(name, []byte("content"), 0o644))
	dropPages(t, name)
	return atimeAfterReading(t, name, fmt.Sprintf("/proc/self/fd/%d/f", mount))
}

// dropPages makes the kernel forget the content of a file, where it is not its only place.
func dropPages(t *testing.T, name string) {
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	must(t, f.Sync())
	must(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// atimeAfterReading reads a file by a path that may be another one than its name.
func atimeAfterReading(t *testing.T, name, by string) string {
	dir := filepath.Dir(name)
	before := statOf(t, dir, "f").Atim
	tick()
	_, err := os.ReadFile(by)
	must(t, err)
	if statOf(t, dir, "f").Atim == before {
		return "the same"
	}
	return "new"
}

// sgidOfAnotherGroup writes, without the privilege to keep sgid, to a file whose
// group the writer is not in, and which that group may not execute.
func sgidOfAnotherGroup(t *testing.T, dir string) string {
	name := filepath.Join(dir, "f")
	must(t, os.WriteFile(name, nil, 0o644))
	must(t, os.Chown(name, 0, 4242))
	must(t, unix.Chmod(name, 0o2644))
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	must(t, writeUnprivileged(f))
	if statOf(t, dir, "f").Mode&unix.S_ISGID != 0 {
		return "kept"
	}
	return "cleared"
}

// writeUnprivileged writes a byte as somebody without CAP_FSETID.
func writeUnprivileged(f *os.File) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its privileges
		if err := dropCapability(unix.CAP_FSETID); err != nil {
			done <- err
			return
		}
		done <- second(unix.Write(int(f.Fd()), []byte("x")))
	}()
	return <-done
}

// dropCapability takes a capability from the calling thread.
func dropCapability(capability uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[capability/32].Effective &^= 1 << (capability % 32)
	return unix.Capset(&header, &data[0])
}

// mappedHole reads a hole through memory, and reports what it takes then.
func mappedHole(t *testing.T, dir string) string {
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(4096))
	p, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	if p[0] != 0 {
		t.Error("a hole has data")
	}
	must(t, unix.Munmap(p))
	return fmt.Sprint(statOf(t, dir, "f").Blocks, " blocks")
}

// storedXattr reports whether an extended attribute is there after a remount.
func storedXattr(name, value string) probe {
	return probe{
		before: func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "f")
			must(t, os.WriteFile(file, nil, 0o755))
			must(t, unix.Setxattr(file, name, []byte(value), 0))
			return ""
		},
		after: func(_ *testing.T, dir string) string {
			_, err := unix.Getxattr(filepath.Join(dir, "f"), name, make([]byte, 100))
			return keptOrNot(err == nil)
		},
	}
}

// storedStat reports whether an attribute is the same after a remount. It keeps it
// in the file meanwhile.
func storedStat(of func(*unix.Stat_t) any) probe {
	return probe{
		before: func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
			must(t, os.Chtimes(filepath.Join(dir, "d"), time.Unix(1, 0), time.Unix(1, 0))) // so that ctime is another
			st := statOf(t, dir, "d")
			must(t, os.WriteFile(filepath.Join(dir, "was"), fmt.Append(nil, of(&st)), 0o644))
			return ""
		},
		after: func(t *testing.T, dir string) string {
			st := statOf(t, dir, "d")
			was, err := os.ReadFile(filepath.Join(dir, "was"))
			must(t, err)
			return keptOrNot(string(was) == fmt.Sprint(of(&st)))
		},
	}
}

// mappedWriteAgain writes twice to one mapped page, with an msync in between, and
// reports whether the second time changes mtime.
func mappedWriteAgain(t *testing.T, dir string) string {
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(4096))
	p, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	p[0] = 1
	must(t, unix.Msync(p, unix.MS_SYNC))
	before := statOf(t, dir, "f").Mtim
	tick()
	p[0] = 2
	must(t, unix.Munmap(p))
	if statOf(t, dir, "f").Mtim == before {
		return "the same mtime"
	}
	return "a new mtime"
}

// deviceNode makes a device node in a mount without the option for it.
func deviceNode(t *testing.T, w *oracleWorld) string {
	m := w.open(t, "device")
	name := m.Path("null")
	made := outcome(unix.Mknod(name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	opened := outcome(second(os.Open(name)))
	if made == answerOK {
		must(t, os.Remove(name))
	}
	w.close(t, m)
	return "mknod " + made + ", open " + opened
}

// deadServer kills the server of a mount, and reports what tools see.
func deadServer(t *testing.T, w *oracleWorld) string {
	world := *w
	world.opts.RunDir = filepath.Join(w.dir, "run2") // a server of its own
	must(t, os.Mkdir(world.opts.RunDir, 0o700))
	m := world.open(t, "dead")
	fd, err := unix.Open(m.Path("f"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	must(t, err)
	must(t, second(unix.Write(fd, []byte("content"))))
	st, err := m.Status(context.Background())
	must(t, err)
	must(t, unix.Kill(st.ServerPID, unix.SIGKILL))
	<-m.Done()
	opened := outcome(second(unix.Open(m.Path("f"), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
	read := count(unix.Pread(fd, make([]byte, 100), 0))
	_ = unix.Close(fd) // ENOTCONN as well
	if _, err := m.Close(context.Background()); !errors.Is(err, mount.ErrServerLost) {
		t.Errorf("close without a server: %v", err)
	}
	return "open " + opened + ", read " + read
}

func second[T any](_ T, err error) error { return err }

// truncatedToSame reports whether truncate(2) to the size that a file has is a change.
func truncatedToSame(content string) probe {
	return now(func(t *testing.T, dir string) string {
		name := filepath.Join(dir, "f")
		must(t, os.WriteFile(name, []byte(content), 0o644))
		before := statOf(t, dir, "f")
		tick()
		must(t, unix.Truncate(name, before.Size))
		if statOf(t, dir, "f").Mtim == before.Mtim {
			return "the same mtime"
		}
		return "a new mtime"
	})
}
