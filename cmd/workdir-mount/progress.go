package main

import (
	"io"
	"os"
	"sync"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

const (
	barTemplate   pb.ProgressBarTemplate = `{{string . "phase"}} {{counters . }} {{bar . }} {{percent . }} {{speed . }} {{rtime . "%s left"}}`
	countTemplate pb.ProgressBarTemplate = `{{string . "phase"}} {{counters . }} {{speed . }}`
)

// progress shows long work as a bar on a terminal, and nothing elsewhere. The bar is erased
// when the work is done.
type progress struct {
	out io.Writer // nil to show nothing

	mu    sync.Mutex // guards the fields below
	phase mount.Phase
	bar   *pb.ProgressBar
	done  bool
}

func (a *app) newProgress() *progress {
	if a.quiet || !isTerminal(a.stderr) {
		return &progress{}
	}
	return &progress{out: a.stderr}
}

// update is for mount.Options.Progress.
func (p *progress) update(now mount.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil || p.done {
		return
	}
	if p.bar == nil || p.phase != now.Phase {
		p.wipeLocked()
		p.phase = now.Phase
		p.bar = newBar(p.out, now)
	}
	p.bar.SetTotal(now.Total)
	p.bar.SetCurrent(now.Bytes)
}

func newBar(out io.Writer, now mount.Progress) *pb.ProgressBar {
	template := barTemplate
	if now.Total == 0 {
		template = countTemplate
	}
	bar := template.New(0)
	bar.Set("phase", string(now.Phase))
	bar.Set(pb.Bytes, true)
	bar.Set(pb.CleanOnFinish, true)
	return bar.SetWriter(out).Start()
}

// finish erases the bar. Later updates are not shown.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	p.wipeLocked()
}

func (p *progress) wipeLocked() {
	if p.bar != nil {
		p.bar.Finish()
		p.bar = nil
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
