package store

import (
	"fmt"
	"os"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/workdir/workdir/archive"
)

// URL names a workspace in a store or, from [ParsePrefix], a group of them.
// Nothing in it is percent-decoded, cleaned or normalised: the key is exactly what the user
// wrote, so that the same URL is the same object for every program. Only in paths are the
// segments "." and ".." resolved, lexically, as a shell's cd does.
type URL struct {
	Scheme string // canonical: file, mem, s3, gs, azblob, or a registered one
	Bucket string // bucket or container; "" for file
	Key    string // without ".tar.gz"; for file the absolute path without its first slash; "" is all of a bucket, for prefixes only
	Query  string // options of the driver, as written, without the question mark

	// Commit is the version, or the beginning of its id; "" is the current state of the
	// workspace.
	Commit archive.CommitID
}

// schemes maps each built-in scheme to its canonical name.
var schemes = map[string]string{
	"file": "file", "local": "file",
	"mem": "mem", "memory": "mem",
	"s3": "s3", "s3a": "s3",
	"gs": "gs", "gcs": "gs",
	azureScheme: azureScheme, "az": azureScheme, "abfs": azureScheme, "abfss": azureScheme,
}

// ParseURL splits the URL of a workspace: scheme://bucket/key?options,
// abfs://container@account.dfs.core.windows.net/key, file:///path, file:/path, or
// a path; each may have @commit after the key, for a version. A path that does not begin with
// a slash is relative to the working directory of this process, so programs pass on String and
// not the original text. Trailing slashes are ignored.
//
// The error is ErrURL; it names the invalid part and never shows a secret.
func ParseURL(s string) (URL, error) {
	return parse(s, false)
}

// ParsePrefix splits the URL of a group of workspaces: those whose keys are the
// prefix, a slash and one name. It is as ParseURL, but may name a whole bucket
// or directory, "." included.
func ParsePrefix(s string) (URL, error) {
	return parse(s, true)
}

// String returns the URL in canonical form, options included; a path is absolute.
// ParseURL and ParsePrefix return the same URL from it.
func (u URL) String() string {
	s := u.Scheme + "://" + u.Bucket
	if u.Key != "" || u.Scheme == "file" {
		s += "/" + joinCommit(u.Key, u.Commit)
	}
	if u.Query != "" {
		s += "?" + u.Query
	}
	return s
}

// Identity is scheme://bucket/key in canonical form, without options: the name of the
// workspace in a log of commits. Options say how to reach the workspace and may differ between
// workers, so stores that differ only in options (two endpoints, two accounts) have equal
// identities for equal keys.
func (u URL) Identity() string {
	u.Query = ""
	return u.String()
}

// bucket is u without its key, for messages.
func (u URL) bucket() string {
	return URL{Scheme: u.Scheme, Bucket: u.Bucket}.String()
}

// prefix begins the keys of the group.
func (u URL) prefix() string {
	if u.Key == "" {
		return ""
	}
	return u.Key + "/"
}

// parser splits one URL.
type parser struct {
	raw    string
	prefix bool // a whole bucket or directory is allowed
}

func parse(raw string, prefix bool) (URL, error) {
	p := parser{raw, prefix}
	if err := p.checkText(raw); err != nil {
		return URL{}, err
	}
	rest, query, _ := strings.Cut(raw, "?")
	for option := range strings.SplitSeq(query, "&") {
		if option != "" && !strings.Contains(option, "=") {
			return URL{}, p.bad("an option without a value; write name=value")
		}
	}
	u := URL{Query: query}
	name, rest, err := p.splitScheme(rest)
	if err != nil {
		return URL{}, err
	}
	u.Scheme = name
	if name == azureScheme {
		if rest, u.Query, err = p.azureAccount(rest, query); err != nil {
			return URL{}, err
		}
	}
	switch {
	case name == "":
		u.Scheme = "file"
		u.Key, err = p.path(rest)
	case name == "file":
		u.Key, err = p.absolute(rest)
	default:
		u.Bucket, u.Key, err = p.bucketAndKey(name, rest)
	}
	if err != nil {
		return URL{}, err
	}
	u.Key, u.Commit = cutCommit(u.Key)
	if u.Commit != "" && (p.prefix || u.Key == "" || strings.HasSuffix(u.Key, "/")) {
		return URL{}, p.bad("a version (@%s) where there is no workspace; where that is a part of the name, write another \"@\" behind it", u.Commit)
	}
	return u, p.checkSegments(u)
}

// bad is the error for one part of the URL.
func (p parser) bad(format string, args ...any) error {
	return fmt.Errorf("url %q: %w: %s", RedactText(p.raw), ErrURL, fmt.Sprintf(format, args...))
}

// checkText refuses characters that no part of a URL may have.
func (p parser) checkText(s string) error {
	if s == "" {
		return p.bad("it is empty; write for example file:///path/to/workspace or s3://bucket/key")
	}
	if !utf8.ValidString(s) {
		return p.bad("it is not UTF-8; rename the workspace")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return p.bad("the control character %q; remove it", r)
		}
	}
	if strings.Contains(s, "#") {
		return p.bad("a \"#\" would be cut off by other tools; choose a name without it")
	}
	return nil
}

// splitScheme returns the canonical scheme and what follows it. The scheme of a
// path is "".
func (p parser) splitScheme(s string) (scheme, rest string, err error) {
	first, _, _ := strings.Cut(s, "/")
	name, after, found := strings.Cut(first, ":")
	if !found {
		return "", s, nil
	}
	canonical, known := canonicalScheme(name)
	rest = s[len(name)+1:]
	hasSlashes := strings.HasPrefix(rest, "//")
	switch {
	case known && hasSlashes:
		return canonical, rest[len("//"):], nil
	case known && canonical == "file" && after == "" && strings.HasPrefix(rest, "/"):
		return canonical, rest, nil
	case known && canonical == "file":
		return "", "", p.bad("the path after %q is not absolute; write file:///path, or the path alone", name+":")
	case known:
		return "", "", p.bad("no \"//\" after %q; write %s://bucket/key", name+":", name)
	case hasSlashes && (strings.EqualFold(name, "https") || strings.EqualFold(name, "http")):
		return "", "", p.webAddress(strings.TrimPrefix(rest, "//"))
	case hasSlashes:
		return "", "", p.bad("unknown scheme %q; the known ones are %s", name, knownSchemes())
	}
	return "", "", p.bad("unknown scheme %q; the known ones are %s, and a relative path with a colon begins with \"./\"", name, knownSchemes())
}

// absolute returns the key of a path that follows "file:" or "file://".
func (p parser) absolute(rest string) (string, error) {
	if !strings.HasPrefix(rest, "/") {
		host, _, _ := strings.Cut(rest, "/")
		if strings.ContainsAny(rest, "@:") {
			return "", p.bad("credentials or a host, which a file URL cannot have; write file:///path for the path /path")
		}
		return "", p.bad("the host %q, which a file URL cannot have; write file:///%s for the path /%s", host, rest, rest)
	}
	return p.trim(resolveDots(rest[1:]), "path")
}

// resolveDots resolves the segments "." and ".." of a path lexically, as a shell's cd does: it
// follows no symbolic link. The other segments are unchanged.
func resolveDots(key string) string {
	var kept []string
	dots := false // the previous segment was "." or "..", so the slashes after it count as one
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "." || dots && segment == "":
			dots = true
		case segment == "..":
			kept, dots = kept[:max(len(kept)-1, 0)], true
		default:
			kept, dots = append(kept, segment), false
		}
	}
	return strings.Join(kept, "/")
}

// path returns the key of a path without a scheme.
func (p parser) path(s string) (string, error) {
	if strings.HasPrefix(s, "/") {
		return p.absolute(s)
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", p.bad("the working directory is not known (%v); write the whole path", err)
	}
	if err := p.checkText(wd); err != nil || strings.Contains(wd, "?") {
		return "", p.bad("the working directory %q has a character that a URL cannot have; work from another directory", wd)
	}
	if path.Clean(s) == "." && !p.prefix {
		return "", p.bad("no path; add the name of the workspace")
	}
	return p.trim(strings.TrimLeft(resolveDots(wd+"/"+s), "/"), "path")
}

// bucketAndKey splits the text after "scheme://".
func (p parser) bucketAndKey(scheme, rest string) (bucket, key string, err error) {
	bucket, key, _ = strings.Cut(rest, "/")
	if bucket == "" {
		return "", "", p.bad("no bucket; write %s://bucket/key", scheme)
	}
	if strings.Contains(bucket, "@") {
		return "", "", p.bad("credentials before the bucket; keep them in the environment or the provider's own configuration and write %s://bucket/key", scheme)
	}
	if strings.Contains(bucket, ":") {
		return "", "", p.bad("a \":\" in the bucket; write %s://bucket/key, and another address of the store as an option (endpoint=…)", scheme)
	}
	key, err = p.trim(key, "key")
	return bucket, key, err
}

// trim strips trailing slashes, and refuses an empty result.
func (p parser) trim(key, what string) (string, error) {
	key = strings.TrimRight(key, "/")
	if key == "" && !p.prefix {
		return "", p.bad("no %s; add the name of the workspace", what)
	}
	return key, nil
}

// CheckKey is for drivers: it returns ErrURL for a key that is invalid in every store. Keys
// from ParseURL pass.
func CheckKey(key string) error {
	what := ""
	switch {
	case key == "" || strings.HasSuffix(key, "/"):
		what = "is the name of no workspace"
	case !utf8.ValidString(key):
		what = "is not UTF-8"
	case strings.ContainsFunc(key, unicode.IsControl):
		what = "has a control character"
	default:
		return CheckPrefix(key)
	}
	return fmt.Errorf("%w: the key %q %s; choose another one", ErrURL, key, what)
}

// CheckPrefix is CheckKey for prefixes of keys.
func CheckPrefix(prefix string) error {
	for segment := range strings.SplitSeq(prefix, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("%w: the segment %q in the key %q; choose another one", ErrURL, segment, prefix)
		}
	}
	return nil
}

// checkSegments refuses segments that stores and file systems read differently.
func (p parser) checkSegments(u URL) error {
	for _, s := range append(strings.Split(u.Key, "/"), u.Bucket) {
		if s == "." || s == ".." {
			return p.bad("the segment %q; write the whole path without it", s)
		}
		if s == versionsName {
			return p.bad("the segment %q, where versions are kept; write WORKSPACE@COMMIT for one of them", s)
		}
	}
	return nil
}
