package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/workdir/workdir/archive"
)

// versionsName is the directory beside an archive for its versions, each an archive with its
// own key: DIR/.workdir-versions/NAME/COMMIT. Lists do not show them as workspaces.
const versionsName = ".workdir-versions"

// Version is a kept archive that a commit has replaced.
type Version struct {
	ID archive.CommitID // of the commit that made it
	Info
}

// versionsOf returns the prefix of the keys of a workspace's versions.
func versionsOf(key string) string {
	name := strings.LastIndexByte(key, '/') + 1
	return key[:name] + versionsName + "/" + key[name:] + "/"
}

// isVersion reports whether the key is that of a version.
func isVersion(key string) bool { return strings.Contains("/"+key, "/"+versionsName+"/") }

// foreignMark begins the ids of versions whose archives have no log, and so no commit.
const foreignMark = "ffffffff"

// ForeignID is the id of an archive without a log.
func ForeignID(rev Revision) archive.CommitID {
	sum := sha256.Sum256([]byte(rev))
	return archive.CommitID(foreignMark + hex.EncodeToString(sum[:12]))
}

// Digits of a commit's id in a URL.
const (
	shortestID = 8
	wholeID    = 32
)

// commitAtEnd matches a version at the end of a URL, or an escaped one that is part of the
// name.
var commitAtEnd = regexp.MustCompile(`@([0-9a-f]{8,32})(@*)$`)

// isDate reports whether a possible beginning of a commit's id consists of decimal digits
// only, like dates and times. It then does not mean a commit.
func isDate(id string) bool {
	return len(id) < wholeID && strings.Trim(id, "0123456789") == ""
}

// cutCommit splits a version off a key: 8 to 32 hexadecimal digits after its last "@", unless
// they are a date. If the name itself ends in that way, one more "@" is appended to it, which
// cutCommit removes.
func cutCommit(key string) (string, archive.CommitID) {
	at := commitAtEnd.FindStringSubmatchIndex(key)
	switch {
	case at == nil || isDate(key[at[2]:at[3]]):
		return key, ""
	case at[4] < at[5]:
		return key[:len(key)-1], ""
	}
	return key[:at[0]], archive.CommitID(key[at[2]:at[3]])
}

// joinCommit is the inverse of cutCommit.
func joinCommit(key string, id archive.CommitID) string {
	if id != "" {
		return key + "@" + string(id)
	}
	if at := commitAtEnd.FindStringSubmatch(key); at != nil && !isDate(at[1]) {
		return key + "@"
	}
	return key
}

// At returns u with a version: a commit's id, or at least 8 digits of its beginning. ErrURL if
// it is invalid.
func (u URL) At(commit string) (URL, error) {
	if u.Commit != "" {
		return URL{}, fmt.Errorf("%w: %s names a version already", ErrURL, u.Redacted())
	}
	if key, id := cutCommit("@" + commit); key != "" || id == "" {
		return URL{}, fmt.Errorf("%w: %q is no version; write %d to %d digits of a commit's id, with a letter among them, as log shows it", ErrURL, commit, shortestID, wholeID)
	}
	u.Commit = archive.CommitID(commit)
	return u, nil
}

// IsVersion returns ErrURL if u names a version, which is read-only.
func (u URL) IsVersion(op string) error {
	if u.Commit == "" {
		return nil
	}
	return &Error{
		Op: op, Object: u.Redacted(), Kind: ErrURL, Cause: errors.New("a version stays as it is"),
		Todo: "mount it read-only, make a workspace of it with \"workdir-mount fork\", or the present state of the workspace with \"workdir-mount rollback\"",
	}
}

// OpenArchive opens the archive that u names in s, a store returned by OpenBucket: the current
// one of its key, as OpenTail does, or a version, which it verifies.
//
// Errors: ErrNoVersion if that version is not, or no longer, kept; those of OpenTail; those of
// archive.ReadLog.
func (u URL) OpenArchive(ctx context.Context, s Store, tail int64) (Object, error) {
	if u.Commit == "" {
		return OpenTail(ctx, s, u.Key, tail)
	}
	tail = max(tail, LogTail)
	key := versionsOf(u.Key) + string(u.Commit)
	if len(u.Commit) < wholeID {
		var err error
		if key, err = u.findVersion(ctx, s); err != nil {
			return nil, err
		}
	}
	if key == "" {
		return u.openHead(ctx, s, tail)
	}
	o, err := OpenTail(ctx, s, key, tail)
	switch {
	case errors.Is(err, ErrNotExist) && len(u.Commit) == wholeID:
		return u.openUnkept(ctx, s, tail)
	case errors.Is(err, ErrNotExist):
		return nil, u.noVersion("it was removed while it was looked for")
	case err != nil:
		return nil, err
	}
	if err := u.check(o, strings.TrimPrefix(key, versionsOf(u.Key))); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// openUnkept opens what u names by a whole id where no version has it: the archive that is
// there now, or a checkpoint.
func (u URL) openUnkept(ctx context.Context, s Store, tail int64) (Object, error) {
	o, err := u.openHead(ctx, s, tail)
	if !errors.Is(err, ErrNoVersion) {
		return o, err
	}
	if key, findErr := u.findVersion(ctx, s); findErr == nil && key != "" {
		return OpenTail(ctx, s, key, tail)
	}
	return nil, err
}

// findVersion returns the key of the one version or checkpoint whose id begins with u.Commit;
// "" where there is none.
func (u URL) findVersion(ctx context.Context, s Store) (string, error) {
	infos, err := s.List(ctx, versionsOf(u.Key))
	if err != nil {
		return "", err
	}
	infos = slices.DeleteFunc(infos, func(i Info) bool {
		name := strings.TrimPrefix(i.Key, versionsOf(u.Key))
		return !strings.HasPrefix(name, string(u.Commit)) && !ofCheckpoint(name, u.Commit)
	})
	switch len(infos) {
	case 0:
		return "", nil
	case 1:
		return infos[0].Key, nil
	}
	return "", &Error{
		Op: "open", Object: u.Redacted(), Kind: ErrURL,
		Cause: fmt.Errorf("%d versions begin so", len(infos)), Todo: "write more digits of the commit's id",
	}
}

// check compares a version with its name: a tool that wrote the archive in place while it had
// two names has changed the version too.
// A checkpoint has one name.
func (u URL) check(o Object, id string) error {
	if ofCheckpoint(id, u.Commit) {
		return nil
	}
	log, err := archive.ReadLog(o, o.Info().Size)
	switch {
	case err != nil:
		return &Error{Op: "open", Object: u.Redacted(), Cause: err}
	case log == nil && strings.HasPrefix(id, foreignMark):
		return nil
	case log == nil || string(log.Record.ID) != id:
		return u.noVersion("another tool has overwritten it")
	}
	return nil
}

// openHead opens the current archive, if that is the requested version.
func (u URL) openHead(ctx context.Context, s Store, tail int64) (Object, error) {
	o, err := OpenTail(ctx, s, u.Key, tail)
	if errors.Is(err, ErrNotExist) {
		return nil, u.noVersion("the workspace has no such version, and no archive")
	}
	if err != nil {
		return nil, err
	}
	log, err := archive.ReadLog(o, o.Info().Size)
	if err == nil && log.Len() > 0 && strings.HasPrefix(string(log.Record.ID), string(u.Commit)) {
		return o, nil
	}
	o.Close()
	if err != nil {
		return nil, &Error{Op: "open", Object: u.Redacted(), Cause: err}
	}
	for r := range log.All() {
		if strings.HasPrefix(string(r.ID), string(u.Commit)) {
			return nil, u.noVersion("the log has that commit, and its archive was not kept, or is not kept any more")
		}
	}
	return nil, u.noVersion("the log has no such commit")
}

func (u URL) noVersion(why string) error {
	return &Error{Op: "open", Object: u.Redacted(), Kind: ErrNoVersion, Cause: errors.New(why), Todo: "\"workdir-mount log\" shows which versions there are"}
}

// Versions returns the versions of a workspace, the newest first, without the current archive,
// unless a failed commit has left it among them.
func (u URL) Versions(ctx context.Context, s Store) ([]Version, error) {
	infos, err := s.List(ctx, versionsOf(u.Key))
	if err != nil {
		return nil, err
	}
	return versionsAmong(u.Key, infos), nil
}

// versionsAmong returns the versions of the workspace of a key.
func versionsAmong(key string, infos []Info) (found []Version) {
	prefix := versionsOf(key)
	for _, info := range infos {
		if id := strings.TrimPrefix(info.Key, prefix); len(id) == wholeID && strings.Trim(id, "0123456789abcdef") == "" {
			found = append(found, Version{archive.CommitID(id), info})
		}
	}
	sortVersions(found, func(v Version) Version { return v })
	return found
}

// sortVersions sorts what have versions, the newest first.
func sortVersions[T any](all []T, of func(T) Version) {
	slices.SortFunc(all, func(a, b T) int {
		v, w := of(a), of(b)
		if c := w.ModTime.Compare(v.ModTime); c != 0 {
			return c
		}
		return strings.Compare(string(v.ID), string(w.ID))
	})
}
