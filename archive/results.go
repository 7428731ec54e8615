package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The results of steps are in separate members after those of the log, so that a reader that
// does not need them can skip them.

// result is the result of a past commit.
type result struct {
	at   int // index in the past, newest first
	data []byte
}

// place identifies a result: its commit, size and checksum.
type place struct {
	commit uint32 // 0 is the last one, 1 the one before it
	size   uint32
	crc    uint32 // CRC32C
}

const placeBytes = 3 * 4

// keepResults returns the results for a log of n past commits that begins with l's last
// commit: the newest ones, within room bytes.
func (l *Log) keepResults(room, n int) []result {
	var kept []result
	keep := func(at int, data []byte) bool {
		room -= len(data)
		if room < 0 || at >= n {
			return false
		}
		kept = append(kept, result{at, data})
		return true
	}
	if l.Record.Result != nil && !keep(0, l.Record.Result) {
		return nil
	}
	for _, r := range l.results {
		if !keep(r.at+1, r.data) {
			break
		}
	}
	return kept
}

// resultOf returns the result of past commit i, or nil.
func (l *Log) resultOf(i int) []byte {
	at, ok := slices.BinarySearchFunc(l.results, i, func(r result, i int) int { return r.at - i })
	if !ok {
		return nil
	}
	return l.results[at].data
}

// encodeResults returns the places of the results, and the results.
func (l *Log) encodeResults() (places, data []byte, err error) {
	if n := len(l.Record.Result); n > MaxResult {
		return nil, nil, fmt.Errorf("the result has %d bytes, and at most %d can be kept", n, MaxResult)
	}
	var all []result
	if l.Record.Result != nil {
		all = append(all, result{-1, l.Record.Result})
	}
	all = append(all, l.results...)
	size := 0
	for _, r := range all {
		places = binary.LittleEndian.AppendUint32(places, uint32(r.at+1))
		places = binary.LittleEndian.AppendUint32(places, uint32(len(r.data)))
		places = binary.LittleEndian.AppendUint32(places, crc32c(r.data))
		size += len(r.data)
	}
	if size > MaxResults {
		return nil, nil, fmt.Errorf("the results have %d bytes, and at most %d can be kept", size, MaxResults)
	}
	data = make([]byte, 0, size)
	for _, r := range all {
		data = append(data, r.data...)
	}
	return places, data, nil
}

func (d *logDecoder) results(content []byte) error {
	if len(content)%placeBytes != 0 || len(content) > (MaxLog+1)*placeBytes {
		return fmt.Errorf("%d bytes are not a list of at most %d results", len(content), MaxLog+1)
	}
	for c := range slices.Chunk(content, placeBytes) {
		d.places = append(d.places, place{
			binary.LittleEndian.Uint32(c), binary.LittleEndian.Uint32(c[4:]), binary.LittleEndian.Uint32(c[8:]),
		})
	}
	return nil
}

var errResult = errors.New("they do not match the log")

// takeResults assigns each commit its result; data has all of them.
func (l *Log) takeResults(places []place, data []byte) error {
	if len(data) > MaxResults {
		return fmt.Errorf("they have %d bytes, and at most %d are allowed", len(data), MaxResults)
	}
	var gave []bool
	if len(places) > 0 {
		gave = l.gave()
	}
	if data == nil {
		data = []byte{} // an empty result is not nil
	}
	next := uint32(0)
	for _, p := range places {
		if p.commit < next || int64(p.commit) >= int64(len(gave)) || !gave[p.commit] ||
			p.size > MaxResult || int64(p.size) > int64(len(data)) || crc32c(data[:p.size]) != p.crc {
			return errResult
		}
		next = p.commit + 1
		l.setResult(int(p.commit), data[:p.size:p.size])
		data = data[p.size:]
	}
	if len(data) > 0 {
		return errResult
	}
	return nil
}

// gave returns for each commit, newest first, whether it had a result.
func (l *Log) gave() []bool {
	all := append(make([]bool, 0, l.Len()), l.Record.gave() == 1)
	_ = l.past.each(func(_ int, row *Record) bool {
		all = append(all, row.gave() == 1)
		return true
	})
	return all
}

// setResult assigns commit i its result; 0 is the last commit.
func (l *Log) setResult(i int, data []byte) {
	if i == 0 {
		l.Record.Result, l.Record.Dropped = data, false
		return
	}
	l.results = append(l.results, result{i - 1, data})
}
