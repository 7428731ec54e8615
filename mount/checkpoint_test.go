package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

// forEachView runs a test in each view.
func forEachView(t *testing.T, test func(t *testing.T, f *fixture)) {
	for _, v := range []View{ViewOverlay, ViewFUSE, ViewPlain} {
		t.Run(string(v), func(t *testing.T) {
			f := newFixture(t)
			f.view, f.plain = v, v == ViewPlain
			test(t, f)
		})
	}
}

// most is every, but for set-user-ID, which plain directories do not show, and hard links, over
// which there is no overlay.
const most = every + "\nchmod 755 tool\nrm dir/second; cp -p file dir/second"

// change does something of every kind to what most has made, alter all but hard links.
const (
	change = alter + "\nln new/deep/made new/linked; ln moved/second again"
	alter  = `
echo more >>file; mv dir moved; rm dangling; mkdir new new/deep; echo made >new/deep/made; rm sparse; truncate -s 3M sparse; printf y | dd of=sparse bs=1 seek=2500000 conv=notrunc status=none
head -c 3000000 /dev/zero | tr '\0' z >large; setfattr -n user.more -v m file; rmdir moved/empty; mkdir moved/empty; echo e >moved/empty/e`
)

// seen is what a tool sees of a workspace, but for what differs from view to view.
const seen = `find . -mindepth 1 \( -type d -printf '%p %y %m\n' -o -printf '%p %y %m %s %n %T@ %l\n' \) | sort
getfattr -R -h -d -m '^user' . 2>/dev/null | sort; find . -type f | sort | xargs -d '\n' md5sum`

func see(t *testing.T, m *Mount) string {
	t.Helper()
	out, err := Command(t.Context(), m, "sh", "-ec", seen).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// seeStored is see of what is stored.
func (f *fixture) seeStored(key string) string {
	f.t.Helper()
	m := f.open(key, &Options{ReadOnly: true, View: ViewFUSE, Grace: time.Minute})
	defer f.close(m, false)
	return see(f.t, m)
}

// at is the key of a checkpoint as a version.
func at(c Checkpoint) string { return "k@" + string(c.ID) }

func (f *fixture) checkpoint(m *Mount) Checkpoint {
	f.t.Helper()
	c, err := m.Checkpoint(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// checkpoints are the ids of those of k that are kept.
func (f *fixture) checkpoints() (ids []string) {
	f.t.Helper()
	u, err := store.ParseURL(f.url("k"))
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := store.OpenBucket(f.t.Context(), u)
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	all, err := u.Checkpoints(f.t.Context(), s)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range all {
		ids = append(ids, string(c.ID))
	}
	return ids
}

// A checkpoint is what tools see, of every kind of change, and leaves workspace and mount as
// they are; the next one takes its place, and a commit removes it.
func TestCheckpoint(t *testing.T) {
	forEachView(t, func(t *testing.T, f *fixture) {
		for _, base := range []string{"index", "foreign", "none"} {
			t.Run(base, func(t *testing.T) {
				f := *f
				f.t = t
				defer f.remove("k")
				switch base {
				case "index":
					f.archiveOf("k", most)
				case "foreign":
					f.foreign("k", most)
				}
				before := f.bytes("k")
				m := f.open("k", &Options{Grace: time.Minute})
				if base == "none" {
					shell(t, m, most)
				}
				first := f.checkpoint(m)
				if got, want := f.seeStored(at(first)), see(t, m); got != want {
					t.Errorf("the first one has\n%s\nwant\n%s", got, want)
				}
				shell(t, m, change)
				second := f.checkpoint(m)
				if got, want := f.seeStored(at(second)), see(t, m); got != want {
					t.Errorf("the second one has\n%s\nwant\n%s", got, want)
				}
				if second.ID != first.ID || fmt.Sprint(f.checkpoints()) != fmt.Sprint([]string{string(first.ID)}) || second.Changes.Total() == 0 {
					t.Errorf("%+v after %+v; kept: %v", second, first, f.checkpoints())
				}
				if string(f.bytes("k")) != string(before) {
					t.Error("the workspace was changed")
				}
				if found, err := store.ListAll(t.Context(), f.url("")+"."); err != nil || len(found) != min(len(before), 1) {
					t.Errorf("listed: %v, %v", found, err)
				}
				shell(t, m, "echo last >>file")
				last := see(t, m)
				if res := f.close(m, true); !res.Stored {
					t.Errorf("closed: %+v", res)
				}
				if left := f.checkpoints(); len(left) > 0 {
					t.Errorf("after the commit there are %v", left)
				}
				if got := f.seeStored("k"); got != last {
					t.Errorf("stored was\n%s\nwant\n%s", got, last)
				}
			})
		}
	})
}

func (f *fixture) remove(key string) {
	f.t.Helper()
	if _, err := store.Delete(f.t.Context(), f.url(key)); err != nil {
		f.t.Error(err)
	}
}

// foreign stores what a script makes by tar(1).
func (f *fixture) foreign(key, script string) {
	f.t.Helper()
	cmd := exec.Command("sh", "-ec", script+"\ntar --xattrs -czf "+f.archive(key)+" .")
	cmd.Dir = f.t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
}

// What a file that is still open has got is in the checkpoint, by write(2) and by a mapping.
func TestCheckpointHasWhatIsWritten(t *testing.T) {
	forEachView(t, func(t *testing.T, f *fixture) {
		f.commit("k", "old", strings.Repeat("a", 3<<20))
		m := f.open("k", nil)
		file, err := os.OpenFile(m.Path("old"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteAt([]byte("written"), 2<<20); err != nil {
			t.Fatal(err)
		}
		mapped, err := unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		copy(mapped, "mapped")
		made, err := os.Create(m.Path("new"))
		if err != nil {
			t.Fatal(err)
		}
		defer made.Close()
		if _, err := made.WriteString("made"); err != nil {
			t.Fatal(err)
		}
		c := f.checkpoint(m)
		old := f.content(at(c), "old")
		if old[:6] != "mapped" || old[2<<20:2<<20+7] != "written" || len(old) != 3<<20 || f.content(at(c), "new") != "made" {
			t.Errorf("the checkpoint has %q, %q", old[:6], old[2<<20:2<<20+7])
		}
		copy(mapped, "onward") // the mount goes on
		if _, err := file.WriteAt([]byte("onward!"), 2<<20); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Munmap(mapped), file.Close(), made.Close()); err != nil {
			t.Fatal(err)
		}
		f.close(m, true)
		if old = f.content("k", "old"); old[:6] != "onward" || old[2<<20:2<<20+7] != "onward!" {
			t.Errorf("stored was %q, %q", old[:6], old[2<<20:2<<20+7])
		}
	})
}

// The next attempt of a step begins where the checkpoint is, and a clean end makes that the
// workspace though nothing more was changed.
func TestBeginWithACheckpoint(t *testing.T) {
	forEachView(t, func(t *testing.T, f *fixture) {
		f.archiveOf("k", most)
		first := f.open("k", stepOptions("run", "1", 1))
		shell(t, first, alter)
		want := see(t, first)
		c := f.checkpoint(first)
		first.Abandon()
		f.close(first, false)

		other := stepOptions("another", "1", 2)
		other.FromCheckpoint = LastCheckpoint
		m := f.open("k", other)
		if m.Resumed() != "" {
			t.Errorf("another step began with %s", m.Resumed())
		}
		f.close(m, false)

		opts := stepOptions("run", "1", 2)
		opts.FromCheckpoint, opts.OnConflict = LastCheckpoint, Merge
		m = f.open("k", opts)
		if got := see(t, m); got != want || m.Resumed() != c.ID {
			t.Errorf("it began with %q and\n%s\nwant\n%s", m.Resumed(), got, want)
		}
		if st := f.status(m); st.Changes != c.Changes {
			t.Errorf("changes %+v, want %+v", st.Changes, c.Changes)
		}
		res := f.close(m, true)
		if !res.Stored || res.Changes != c.Changes || len(f.checkpoints()) > 0 {
			t.Errorf("closed: %+v; kept: %v", res, f.checkpoints())
		}
		if got := f.seeStored("k"); got != want {
			t.Errorf("stored was\n%s\nwant\n%s", got, want)
		}
		var done *CommittedError
		if err := f.refused("k", stepOptions("run", "1", 3)); !errors.As(err, &done) {
			t.Errorf("the step again: %v; want that it is done", err)
		}
		if _, log := f.log("k"); log.Len() != 2 || log.Record.Origin.Attempt != 2 || !strings.Contains(log.Record.Message, c.ID.Short()) {
			t.Errorf("the log has %d commits, the last one %+v", log.Len(), log.Record)
		}
	})
}

// What was stored since a checkpoint is never overwritten by what began with it.
func TestCheckpointOfAnotherRevision(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "f", "one")
	m := f.open("k", nil)
	f.write(m, "mine", "mine")
	c := f.checkpoint(m)
	f.close(m, false)

	late := f.open("k", &Options{FromCheckpoint: string(c.ID[:10]), OnConflict: Merge})
	f.write(late, "more", "more")
	f.commit("k", "g", "two")
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Close(t.Context()); !errors.Is(err, store.ErrConflict) {
		t.Errorf("close = %v, want a conflict", err)
	}
	if err := f.refused("k", &Options{FromCheckpoint: string(c.ID)}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("open = %v, want a conflict", err)
	}
	fresh := f.open("k", &Options{FromCheckpoint: LastCheckpoint})
	if w := fresh.Warnings(); fresh.Resumed() != "" || len(w) != 1 || !strings.Contains(w[0], "begins anew") {
		t.Errorf("began with %q, warnings %v", fresh.Resumed(), w)
	}
	f.close(fresh, false)
	if got := f.content(at(c), "mine"); got != "mine" {
		t.Errorf("the checkpoint has %q", got)
	}
	if f.content("k", "g") != "two" {
		t.Error("the workspace was changed")
	}
	for from, want := range map[string]error{"0123456789abcdef": store.ErrNoVersion, "nothing": store.ErrURL} {
		if err := f.refused("k", &Options{FromCheckpoint: from}); !errors.Is(err, want) {
			t.Errorf("from %q: %v, want %v", from, err, want)
		}
	}
}

func TestNoCheckpoint(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "f", "one")
	ro := f.open("k", &Options{ReadOnly: true})
	if _, err := ro.Checkpoint(t.Context()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	f.close(ro, false)
	m := f.open("k", nil)
	m.Abandon()
	if _, err := m.Checkpoint(t.Context()); !errors.Is(err, ErrAbandoned) {
		t.Errorf("abandoned: %v", err)
	}
	f.close(m, false)
	m = f.open("k", nil)
	f.close(m, false)
	if _, err := m.Checkpoint(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if left := f.checkpoints(); len(left) > 0 {
		t.Errorf("there are %v", left)
	}
}

// writeOn is a tool that never pauses: a file that it renames into place is always whole, and
// follows those that it made before.
const writeOn = `i=0; while :; do i=$((i+1)); yes $i | head -n 2000 >tmp; mv tmp f; ln -f f before; done`

// Where tools never pause, a checkpoint is of one moment or is refused.
func TestCheckpointOfABusyMount(t *testing.T) {
	forEachView(t, func(t *testing.T, f *fixture) {
		m := f.open("k", &Options{Grace: time.Minute})
		tool := Command(t.Context(), m, "sh", "-c", writeOn)
		tool.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := tool.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = unix.Kill(-tool.Process.Pid, unix.SIGKILL)
			_ = tool.Wait() // killed
		}()
		waitFor(t, "the tool", func() bool { _, err := os.Lstat(m.Path("before")); return err == nil })
		taken := 0
		for range 5 {
			c, err := m.Checkpoint(t.Context())
			switch {
			case f.view == ViewFUSE && err != nil, err != nil && !errors.Is(err, ErrBusy):
				t.Fatal(err)
			case err != nil:
				continue
			}
			taken++
			lines := strings.Fields(f.content(at(c), "f"))
			if len(lines) != 2000 || lines[0] != lines[1999] {
				t.Errorf("f has %d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
			}
		}
		t.Logf("%d of 5", taken)
	})
}

// The memory that a checkpoint needs is set aside for it, and is not there beyond the limit.
func TestCheckpointNeedsRoom(t *testing.T) {
	f := newFixture(t)
	f.view = ViewFUSE
	m := f.open("k", &Options{MaxBytes: 8 << 20, Spill: t.TempDir()})
	shell(t, m, "head -c 40000000 /dev/urandom >f")
	c := f.checkpoint(m)
	if c.Size < 40000000 {
		t.Errorf("%+v", c)
	}
	f.close(m, false)
}
