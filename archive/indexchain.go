package archive

import "crypto/sha256"

// The chain of members that holds an index.

// zerosAt: every zerosAt-th of consecutive members holds 512 zeros, since some readers fail on
// many consecutive empty members.
const zerosAt = 2048

// appendIndex appends members with payload after behind other empty members.
func appendIndex(out, payload []byte, behind int) []byte {
	for len(payload) > 0 {
		chunk := payload[:min(len(payload), maxChunk)]
		payload = payload[len(chunk):]
		end := emptyEnd
		if behind++; behind%zerosAt == 0 {
			end = zerosEnd
		}
		out = append(out, member(subIndex, chunk, end)...)
	}
	return out
}

// payload returns the index in chain, the archive's bytes at x.
func (x *indexPlace) payload(chain []byte) ([]byte, error) {
	out := make([]byte, 0, min(x.raw, int64(len(chain))))
	for len(chain) > 0 {
		chunk, size, ok := parseMember(chain, subIndex, emptyEnd)
		if !ok {
			chunk, size, ok = parseMember(chain, subIndex, zerosEnd)
		}
		if !ok {
			return nil, errIndexDamaged
		}
		out, chain = append(out, chunk...), chain[size:]
	}
	if int64(len(out)) != x.raw || sha256.Sum256(out) != x.sum {
		return nil, errIndexDamaged
	}
	return out, nil
}

var errIndexDamaged = &FormatError{Reason: "the index is damaged"}
