package cloud

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

// Test results about a bucket are kept for knownTime in the directory named by store.Remember,
// as an empty file each: its name is a digest, its mtime the time of the test. A result that
// cannot be kept is tested anew.
const (
	knownDir  = "known"
	knownTime = 24 * time.Hour
)

func knownPath(what string) string {
	sum := sha256.Sum256([]byte(what))
	return filepath.Join(store.Remembered(), knownDir, hex.EncodeToString(sum[:16]))
}

// noteName matches the names of notes. Other files are not ours.
var noteName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// known reports whether this was tested within the last day, by a process of this user.
func known(what string) bool {
	var st unix.Stat_t
	if store.Remembered() == "" || unix.Lstat(knownPath(what), &st) != nil {
		return false
	}
	age := time.Since(time.Unix(st.Mtim.Unix()))
	return int(st.Uid) == os.Geteuid() && st.Mode&unix.S_IFMT == unix.S_IFREG && age >= 0 && age < knownTime
}

// learnt records a test result, and removes expired ones.
func learnt(what string) {
	if store.Remembered() == "" || unix.Access(store.Remembered(), unix.W_OK) != nil {
		return
	}
	path := knownPath(what)
	dir := filepath.Dir(path)
	_ = os.Mkdir(dir, 0o700) // usually exists
	note, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return
	}
	_ = note.Close()
	now := time.Now()
	_ = os.Chtimes(path, now, now) // creating an existing empty file has not changed it
	notes, _ := os.ReadDir(dir)
	for _, note := range notes {
		info, err := note.Info()
		if err == nil && noteName.MatchString(note.Name()) && info.Mode().IsRegular() && info.Size() == 0 && now.Sub(info.ModTime()) > knownTime {
			_ = os.Remove(filepath.Join(dir, note.Name())) // another process may have removed it
		}
	}
}
