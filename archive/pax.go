package archive

import (
	"bytes"
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"github.com/workdir/workdir/fs"
)

// Keys of extended headers that mean something here: POSIX.1-2017, pax, "pax
// Extended Header", and those of star, GNU tar and libarchive.
const (
	paxPath     = "path"
	paxLinkPath = "linkpath"
	paxSize     = "size"
	paxUID      = "uid"
	paxGID      = "gid"
	paxMtime    = "mtime"
	paxXattr    = "SCHILY.xattr."
	paxXattrB64 = "LIBARCHIVE.xattr."
	paxSELinux  = "RHT.security.selinux"
	paxACL      = "SCHILY.acl."
	paxSparse   = "GNU.sparse."

	paxSparseOff = "GNU.sparse.offset"
	paxSparseLen = "GNU.sparse.numbytes"
)

var errPax = errors.New("the extended header is malformed")

// records are the contents of an entry's extended headers.
type records struct {
	vals map[string]string
	// extents are the values of the records that repeat in GNU tar's format 0.0
	// of sparse files: offset and length in turn.
	extents []string
}

// parse adds the records of an extended header. A later record replaces an earlier one; an
// empty value removes it.
func (r *records) parse(data []byte) error {
	if r.vals == nil {
		r.vals = map[string]string{}
	}
	for len(data) > 0 {
		key, value, rest, err := paxRecord(data)
		if err != nil {
			return err
		}
		data = rest
		switch {
		case key != paxSparseOff && key != paxSparseLen:
			r.vals[key] = value
		case (len(r.extents)%2 == 0) == (key == paxSparseOff):
			r.extents = append(r.extents, value)
		default:
			return errSparse
		}
	}
	return nil
}

// over returns the records of r, and those of global that r does not have.
func (r *records) over(global map[string]string) map[string]string {
	if len(global) == 0 {
		return r.vals
	}
	all := maps.Clone(global)
	maps.Copy(all, r.vals)
	return all
}

// paxRecord splits "LENGTH KEY=VALUE\n" off data; LENGTH counts all of it.
func paxRecord(data []byte) (key, value string, rest []byte, err error) {
	digits, _, ok := bytes.Cut(data[:min(len(data), 20)], []byte(" "))
	n, err := strconv.ParseInt(string(digits), 10, 32)
	if !ok || err != nil || n <= int64(len(digits))+1 || n > int64(len(data)) || data[n-1] != '\n' {
		return "", "", nil, errPax
	}
	k, v, ok := bytes.Cut(data[len(digits)+1:n-1], []byte("="))
	if !ok || len(k) == 0 {
		return "", "", nil, errPax
	}
	return string(k), string(v), data[n:], nil
}

// appendPax adds one record to an extended header.
func appendPax(out []byte, key, value string) []byte {
	rest := len(key) + len(value) + len(" =\n")
	n := rest + len(strconv.Itoa(rest))
	if m := rest + len(strconv.Itoa(n)); m != n {
		n = m
	}
	out = strconv.AppendInt(out, int64(n), 10)
	out = append(append(append(out, ' '), key...), '=')
	return append(append(out, value...), '\n')
}

// paxTime reads seconds with a fraction; digits beyond nanoseconds are dropped. Python writes
// very small ones with an exponent.
func paxTime(s string) (fs.Time, error) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fs.Time{}, errPax
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	whole, frac, _ := strings.Cut(s, ".")
	negative := strings.HasPrefix(whole, "-")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(frac, "0123456789") != "" {
		return fs.Time{}, errPax
	}
	nsec, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err != nil {
		return fs.Time{}, errPax
	}
	if negative && nsec > 0 {
		if sec == -1<<63 {
			return fs.Time{}, errPax
		}
		sec, nsec = sec-1, maxNsec+1-nsec
	}
	return fs.Time{Sec: sec, Nsec: uint32(nsec)}, nil
}

// formatTime is the inverse of paxTime.
func formatTime(t fs.Time) string {
	sec, nsec, sign := t.Sec, int64(t.Nsec), ""
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, maxNsec+1-nsec
		if sec == 0 {
			sign = "-"
		}
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec == 0 {
		return s
	}
	frac := strconv.FormatInt(nsec+maxNsec+1, 10)[1:]
	return s + "." + strings.TrimRight(frac, "0")
}

// Names of extended attributes are part of keys, which "=" would end. GNU tar writes it as
// %3D, and % as %25; we do the same.
var (
	xattrEscape   = strings.NewReplacer("%", "%25", "=", "%3D")
	xattrUnescape = strings.NewReplacer("%25", "%", "%3D", "=")
)

// paxXattrOf returns the extended attribute in a record, if it has one.
func paxXattrOf(key, value string) (x xattr, ok bool, err error) {
	if name, found := strings.CutPrefix(key, paxXattr); found {
		return xattr{xattrUnescape.Replace(name), []byte(value)}, true, nil
	}
	name, found := strings.CutPrefix(key, paxXattrB64)
	if !found {
		return xattr{}, false, nil
	}
	name, err = url.PathUnescape(name)
	if err != nil {
		return xattr{}, false, errPax
	}
	v, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return xattr{}, false, errPax
	}
	return xattr{name, v}, true, nil
}
