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

// What was found out about a bucket is kept for knownTime in the directory that store.Remember
// names, an empty file for each thing: its name is a digest, the time of its last change when
// it was found out. Where it cannot be kept it is found out anew.
const (
	knownDir  = "known"
	knownTime = 24 * time.Hour
)

func knownPath(what string) string {
	sum := sha256.Sum256([]byte(what))
	return filepath.Join(store.Remembered(), knownDir, hex.EncodeToString(sum[:16]))
}

// noteName is what the name of a note looks like. Other files are not ours.
var noteName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// known reports whether this was found out within the last day, by a process of this user.
func known(what string) bool {
	var st unix.Stat_t
	if store.Remembered() == "" || unix.Lstat(knownPath(what), &st) != nil {
		return false
	}
	age := time.Since(time.Unix(st.Mtim.Unix()))
	return int(st.Uid) == os.Geteuid() && st.Mode&unix.S_IFMT == unix.S_IFREG && age >= 0 && age < knownTime
}

// learnt notes that this was found out, and drops what is too old.
func learnt(what string) {
	if store.Remembered() == "" || unix.Access(store.Remembered(), unix.W_OK) != nil {
		return
	}
	path := knownPath(what)
	dir := filepath.Dir(path)
	_ = os.Mkdir(dir, 0o700) // is there mostly
	note, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return
	}
	_ = note.Close()
	now := time.Now()
	_ = os.Chtimes(path, now, now) // an empty file that was there has not changed
	notes, _ := os.ReadDir(dir)
	for _, note := range notes {
		info, err := note.Info()
		if err == nil && noteName.MatchString(note.Name()) && info.Mode().IsRegular() && info.Size() == 0 && now.Sub(info.ModTime()) > knownTime {
			_ = os.Remove(filepath.Join(dir, note.Name())) // another process may have done it
		}
	}
}
