package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// tarPigz measures a typical shell script: GNU tar and pigz, into and out of a directory,
// without a conditional write or a sync.
type tarPigz struct {
	source, dir string
}

func (*tarPigz) name() string { return "tar, pigz -6" }

func (p *tarPigz) archive() string { return filepath.Join(p.dir, "job.tar.gz") }

// subdir makes a fresh directory.
func (p *tarPigz) subdir(name string) (string, error) {
	dir := filepath.Join(p.dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}

func (p *tarPigz) commit(s *sample) error {
	dir, err := p.subdir("packed")
	if err != nil {
		return err
	}
	if s.fill, err = seconds(func() error { return fill(p.source, dir) }); err != nil {
		return err
	}
	out, err := os.Create(p.archive())
	if err != nil {
		return err
	}
	defer out.Close()
	zip := command("pigz", "-6")
	zip.Stdout = out
	var u usage
	s.commit, err = seconds(func() error {
		u, err = pipe(command("tar", "-C", dir, "-cf", "-", "."), zip)
		return err
	})
	if err != nil {
		return err
	}
	s.commitProcessor, s.commitMemory = u.processor, u.memory
	info, err := out.Stat()
	if err == nil {
		s.archive = info.Size()
	}
	return err
}

func (p *tarPigz) open(s *sample) error {
	dir, err := p.subdir("unpacked")
	if err != nil {
		return err
	}
	start := time.Now()
	u, err := pipe(command("pigz", "-dc", p.archive()), command("tar", "-C", dir, "-xf", "-"))
	if err != nil {
		return err
	}
	s.openProcessor, s.openMemory = u.processor, u.memory
	if err := list(dir); err != nil {
		return err
	}
	s.listed = time.Since(start).Seconds()
	if err := readAll(dir); err != nil {
		return err
	}
	s.read = time.Since(start).Seconds()
	return nil
}

// pipe runs two programs, the output of the first being the input of the second.
func pipe(from, to *exec.Cmd) (usage, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return usage{}, err
	}
	from.Stdout, to.Stdin = w, r
	err = from.Start()
	if err == nil {
		err = to.Start()
	}
	w.Close()
	r.Close()
	if err != nil {
		return usage{}, err
	}
	if err := errors.Join(from.Wait(), to.Wait()); err != nil {
		return usage{}, err
	}
	return usageOf(from).plus(usageOf(to)), nil
}
