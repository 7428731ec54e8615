package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/workdir/workdir/mount"
)

// The workload is the client of the kill test: it opens workspaces, makes the
// next generation in each, marks and closes them, and says on standard output
// how far it is. A generation is a tree of which every byte follows from its
// number, so that one that is half of another is found out.
const (
	urlsVariable       = "WORKDIR_INTEGRATION_URLS"       // of the workspaces, by spaces
	dirsVariable       = "WORKDIR_INTEGRATION_DIRS"       // their mountpoints, by spaces; empty: made ones
	runDirVariable     = "WORKDIR_INTEGRATION_RUN_DIR"    // of the client
	generationVariable = "WORKDIR_INTEGRATION_GENERATION" // that it makes
)

func init() {
	roles["workload"] = workload
	roles["verify"] = verify
}

// Sizes of a generation: a commit of its 4 MiB, which do not compress, takes some
// tens of milliseconds.
const (
	bigFiles, bigSize     = 8, 512 << 10
	smallFiles, smallSize = 24, 100
)

// contents is a tree: content by name; a symbolic link's is linkMark and its
// target.
type contents map[string]string

const linkMark = "-> "

// generation returns the tree of a generation. 0 is the empty workspace.
func generation(n int) contents {
	s := contents{}
	if n == 0 {
		return s
	}
	for i := range bigFiles {
		name := fmt.Sprintf("big/%d", i)
		s[name] = bytesOf(n, name, bigSize)
	}
	for i := range smallFiles {
		name := fmt.Sprintf("small/%d", i)
		s[name] = bytesOf(n, name, smallSize)
	}
	s["generation"] = strconv.Itoa(n)
	s[fmt.Sprintf("only/%d", n)] = "only in this generation"
	s["link"] = fmt.Sprintf("%sonly/%d", linkMark, n)
	return s
}

// bytesOf returns bytes that follow from their arguments and do not compress.
func bytesOf(n int, name string, size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d %s", n, name))).Read(b) // never fails
	return string(b)
}

// number returns the generation that the tree is, whole.
func (s contents) number() (int, error) {
	if len(s) == 0 {
		return 0, nil
	}
	n, err := strconv.Atoi(s["generation"])
	if err != nil {
		return 0, fmt.Errorf("a tree of %d files has no generation: %w", len(s), err)
	}
	want := generation(n)
	for name := range want {
		if s[name] != want[name] {
			return 0, fmt.Errorf("generation %d is not whole: %s differs", n, name)
		}
	}
	if !maps.Equal(s, want) {
		return 0, fmt.Errorf("generation %d has %d files, want %d", n, len(s), len(want))
	}
	return n, nil
}

// write makes the tree at dir this one, whichever generation it was.
func (s contents) write(dir string) error {
	for _, sub := range []string{"big", "small", "only"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	old, err := os.ReadDir(filepath.Join(dir, "only"))
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := os.Remove(filepath.Join(dir, "only", e.Name())); err != nil {
			return err
		}
	}
	for name, content := range s {
		if err := writeEntry(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// writeEntry writes large files in place, and replaces the others by renaming,
// as editors do.
func writeEntry(path, content string) error {
	if len(content) == bigSize {
		return os.WriteFile(path, []byte(content), 0o644)
	}
	var err error
	if target, ok := strings.CutPrefix(content, linkMark); ok {
		err = os.Symlink(target, path+".new")
	} else {
		err = os.WriteFile(path+".new", []byte(content), 0o644)
	}
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readTree reads a tree from a directory.
func readTree(dir string) (contents, error) {
	s := contents{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			s[name] = linkMark + target
			return err
		}
		b, err := os.ReadFile(path)
		s[name] = string(b)
		return err
	})
	return s, err
}

// readArchive reads a tree from an archive as any other program would, to the
// archive's last byte. No archive is the empty tree.
func readArchive(path string) (contents, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return contents{}, nil
	}
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	s := contents{}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(h.Name, "./")
		switch h.Typeflag {
		case tar.TypeReg:
			content, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			s[name] = string(content)
		case tar.TypeSymlink:
			s[name] = linkMark + h.Linkname
		}
	}
	_, err = io.Copy(io.Discard, z)
	return s, err
}

// Phases that the workload reports, each before what it names begins.
const (
	phaseOpening    = "opening"
	phaseWriting    = "writing"
	phaseClosing    = "closing"
	phaseConfirming = "confirming" // the archive is written, and not visible yet
	phaseEnding     = "ending"
)

// reporter prints one line at a time.
type reporter struct{ mu sync.Mutex }

func (r *reporter) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Printf(format+"\n", args...)
}

// workload is the client that is killed.
func workload() int {
	var r reporter
	n, err := strconv.Atoi(os.Getenv(generationVariable))
	if err != nil {
		r.say("failed: generation: %v", err)
		return 1
	}
	r.say("phase %s", phaseOpening)
	mounts, err := openAll(&r)
	if err == nil {
		r.say("phase %s", phaseWriting)
		err = writeAll(mounts, generation(n))
	}
	if err != nil {
		r.say("failed: %v", err)
	}
	r.say("phase %s", phaseClosing)
	var wg sync.WaitGroup
	for i, m := range mounts {
		wg.Go(func() {
			res, err := m.Close(context.Background())
			r.say("closed %d %s", i, answer(res, err))
		})
	}
	wg.Wait()
	r.say("phase %s", phaseEnding)
	return 0
}

// openAll opens the workspaces that the environment names; after an error, it
// gives those that it has opened.
func openAll(r *reporter) ([]*mount.Mount, error) {
	var mounts []*mount.Mount
	dirs := strings.Fields(os.Getenv(dirsVariable))
	for i, url := range strings.Fields(os.Getenv(urlsVariable)) {
		opts := &mount.Options{
			RunDir: os.Getenv(runDirVariable),
			Grace:  time.Minute,
			BeforeStore: func(context.Context) error {
				r.say("phase %s", phaseConfirming)
				return nil
			},
		}
		if len(dirs) > 0 {
			opts.Dir = dirs[i]
		}
		m, err := mount.Open(context.Background(), url, opts)
		if err != nil {
			return mounts, err
		}
		mounts = append(mounts, m)
		st, err := m.Status(context.Background())
		if err != nil {
			return mounts, err
		}
		r.say("server %d", st.ServerPID)
	}
	return mounts, nil
}

// writeAll writes the tree into each mount and marks it.
func writeAll(mounts []*mount.Mount, s contents) error {
	for _, m := range mounts {
		if err := s.write(m.Path()); err != nil {
			return err
		}
		if err := m.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// What Close said of the archive.
const (
	answerStored  = "stored"
	answerNothing = "nothing" // was stored, or wanted
	answerUnknown = "unknown"
)

// answer returns what the client of a Close knows, and its error.
func answer(res mount.Result, err error) string {
	var lost *mount.ServerLostError
	switch {
	case err == nil && res.Stored, errors.As(err, &lost) && res.Stored:
		return answerStored
	case err == nil:
		return answerNothing
	case errors.Is(err, mount.ErrCommit), lost != nil && lost.Stored == "nothing was stored":
		return answerNothing + " " + oneLine(err)
	}
	return answerUnknown + " " + oneLine(err)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " | ") }

// verify opens the workspaces read-only and prints the generation of each.
func verify() int {
	for _, url := range strings.Fields(os.Getenv(urlsVariable)) {
		n, err := verifyOne(url)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", url, err)
			return 1
		}
		fmt.Println(n)
	}
	if err := mount.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func verifyOne(url string) (n int, err error) {
	m, err := mount.Open(context.Background(), url, &mount.Options{RunDir: os.Getenv(runDirVariable), ReadOnly: true, Presence: mount.MayBeAbsent})
	if err != nil {
		return 0, err
	}
	defer func() {
		_, closeErr := m.Close(context.Background())
		err = errors.Join(err, closeErr)
	}()
	s, err := readTree(m.Path())
	if err != nil {
		return 0, err
	}
	return s.number()
}
