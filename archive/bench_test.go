package archive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/workdir/workdir/fs"
)

// generated makes a tree of 200 directories with 25 text files of 4 KiB each.
func generated(tb testing.TB) *fs.Tree {
	t := newTree(tb)
	m := maker{tb, t}
	text := randomText(5000 + 4096)
	for d := range 200 {
		dir := fmt.Sprintf("dir%03d", d)
		m.dir(dir)
		for f := range 25 {
			m.file(fmt.Sprintf("%s/file%02d.txt", dir, f), text[d*25+f:][:4096])
		}
	}
	return t
}

// imported copies a directory of this machine into a tree.
func imported(tb testing.TB, root string) *fs.Tree {
	t := newTree(tb)
	m := maker{tb, t}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel := path[len(root)+1:]
		switch {
		case e.IsDir():
			m.dir(rel)
		case e.Type() == os.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			m.symlink(rel, target)
		default:
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			m.file(rel, string(p))
		}
		info, err := e.Info()
		if err == nil {
			m.mtime(rel, info.ModTime().Unix(), uint32(info.ModTime().Nanosecond()))
			m.mode(rel, uint32(info.Mode().Perm()))
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func benchTrees(b *testing.B, fn func(b *testing.B, t *fs.Tree)) {
	b.Run("generated", func(b *testing.B) { fn(b, generated(b)) })
	src := filepath.Join(runtime.GOROOT(), "src")
	if _, err := os.Stat(src); err == nil {
		b.Run("goroot", func(b *testing.B) { fn(b, imported(b, src)) })
	}
}

func BenchmarkPack(b *testing.B) {
	benchTrees(b, func(b *testing.B, t *fs.Tree) {
		for _, plain := range []bool{false, true} {
			for _, level := range []int{1, 3, 5, 6, 7, 9} {
				b.Run(fmt.Sprintf("plain=%v/level=%d", plain, level), func(b *testing.B) {
					var s Summary
					for b.Loop() {
						var err error
						s, err = NewWriter(io.Discard, &WriterOptions{Level: level, Plain: plain}).WriteTree(context.Background(), t, testLog(0))
						if err != nil {
							b.Fatal(err)
						}
					}
					b.SetBytes(s.Bytes)
					b.ReportMetric(float64(s.Size)/1e6, "MB-packed")
				})
			}
		}
	})
}

func BenchmarkUnpack(b *testing.B) {
	benchTrees(b, func(b *testing.B, t *fs.Tree) {
		var archive bytes.Buffer
		s, err := NewWriter(&archive, nil).WriteTree(context.Background(), t, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(s.Bytes)
		for b.Loop() {
			home, err := fs.NewArenaHome(1 << 30)
			if err != nil {
				b.Fatal(err)
			}
			tree, err := fs.New(home, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := NewReader(bytes.NewReader(archive.Bytes()), nil).Load(context.Background(), tree); err != nil {
				b.Fatal(err)
			}
			tree.Close()
			home.Close()
		}
	})
}

// BenchmarkLog measures what the log adds to an open and to a commit.
func BenchmarkLog(b *testing.B) {
	for name, log := range map[string]*Log{
		"one-workflow":  stepLog(MaxLog, 1, 0),
		"own-workflows": stepLog(MaxLog, MaxLog, 0),
		"results":       stepLog(MaxLog, 1, 4000),
	} {
		benchLog(b, name, log)
	}
}

func benchLog(b *testing.B, name string, log *Log) {
	e := encoded(b, log)
	rec := log.Record
	rec.ID = NewCommitID()
	b.Run(name+"/decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.decode(DefaultLimits().LogBytes); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(e.payload))/1e3, "kB")
		b.ReportMetric(float64(len(log.past.rows))/1e3, "kB-rows")
	})
	b.Run(name+"/next+encode", func(b *testing.B) {
		for b.Loop() {
			if _, err := log.Next(rec).encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"/find", func(b *testing.B) {
		for b.Loop() {
			if log.Find(StepID{}) != nil {
				b.Fatal("found")
			}
		}
	})
}

// BenchmarkSuccessor measures a commit: the archive is opened, a line is appended to one
// file, and what is new is packed.
func BenchmarkSuccessor(b *testing.B) {
	benchTrees(b, func(b *testing.B, t *fs.Tree) {
		log := testLog(0)
		base := pack(b, t, log, nil)
		path := ""
		if err := t.Walk(func(p string, _ *fs.Inode, a fs.Attr) error {
			if a.Size > 1000 && a.Mode&syscall.S_IFMT == syscall.S_IFREG {
				path = p
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		var fresh int64
		for b.Loop() {
			on, a := standing(b, base)
			m := maker{b, on}
			m.write(m.at(path), "one line\n", on.Attr(m.at(path)).Size)
			on.Freeze()
			plan, err := NewWriter(nil, nil).Plan(b.Context(), on, a, nextLog(log))
			if err != nil {
				b.Fatal(err)
			}
			out := countWriter{w: io.Discard}
			for _, p := range plan.Pieces {
				if p.Write != nil {
					if err := p.Write(&out); err != nil {
						b.Fatal(err)
					}
				}
			}
			fresh = out.n
		}
		b.ReportMetric(float64(fresh)/1e3, "kB-new")
		b.ReportMetric(float64(len(base))/1e6, "MB-packed")
	})
}
