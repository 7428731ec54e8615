package archive

var errPieces = &FormatError{Reason: "the commit log is in pieces"}

// tailReader collects the commit log from the members of an archive as they
// stream by. It comes to the same result as ReadLog, from the other end.
type tailReader struct {
	maxLog int64

	members int
	first   memberSum
	payload []byte
	results []byte
	from    int64 // offset of the chain
	to      int64 // its end; 0 where there is no chain
	end     int64 // of the results; 0 where there are none
	footer  *footer
	stale   bool // something followed the footer
}

// member takes note of a member that was read and checked. Errors: *FormatError,
// *LimitError.
func (t *tailReader) member(h memberInfo, sum memberSum) error {
	t.members++
	if t.members == 1 {
		t.first = sum
		return nil
	}
	id, payload := subfieldOf(h.extra)
	switch {
	case sum.raw > 0:
		return t.other()
	case id == subLog:
		return t.chunk(h.start, sum.packed, payload)
	case id == subResult:
		return t.result(h.start, sum.packed, payload)
	case id == subFooter:
		return t.foot(payload)
	}
	return t.other()
}

// other meets a member that is nothing of the log.
func (t *tailReader) other() error {
	if t.footer != nil {
		t.forget()
	}
	return nil
}

func (t *tailReader) chunk(start, size int64, payload []byte) error {
	if t.footer != nil {
		t.forget()
	}
	if t.to == 0 {
		t.from, t.to = start, start
	}
	if start != t.to {
		return errPieces
	}
	t.to += size
	t.payload = append(t.payload, payload...)
	return t.check()
}

// result takes a chunk of the results, which follow the log.
func (t *tailReader) result(start, size int64, payload []byte) error {
	if t.end == 0 {
		t.end = t.to
	}
	if t.to == 0 || start != t.end || !follows(t.results, payload) {
		return errPieces
	}
	t.end += size
	t.results = append(t.results, payload...)
	return t.check()
}

func (t *tailReader) check() error {
	return over("LogBytes", int64(len(t.payload)+len(t.results)), t.maxLog, "")
}

func (t *tailReader) foot(payload []byte) error {
	f, err := parseFooter(payload)
	switch {
	case err == errNoFooter:
		return errBadFooter
	case err != nil:
		return err
	case t.footer != nil || t.stale || f.first != t.first || f.logOff != t.from || f.logLen != t.to-t.from:
		return formatErr("", "the footer behind the tar belongs to another archive")
	}
	t.footer = f
	return nil
}

// atEnd checks that nothing is missing at the end of the archive.
func (t *tailReader) atEnd() error {
	if t.unfinished() {
		return formatErr("", "it is cut off behind the tar: the commit log has no footer")
	}
	return nil
}

// unfinished tells that there is a log without a footer so far.
func (t *tailReader) unfinished() bool { return t.to > 0 && t.footer == nil && !t.stale }

// forget drops a log that is not at the end, where ReadLog would not find it.
func (t *tailReader) forget() {
	t.stale = t.stale || t.footer != nil
	t.footer, t.payload, t.results = nil, nil, nil
}

// log gives the log; nil where there is none.
func (t *tailReader) log() (*Log, error) {
	if t.footer == nil {
		return nil, nil
	}
	return t.footer.decode(t.payload, t.results, t.maxLog)
}

// subfieldOf gives the first subfield of a member's FEXTRA, if it is the only one.
func subfieldOf(extra []byte) (id subfield, payload []byte) {
	if len(extra) < 4 || int(extra[2])|int(extra[3])<<8 != len(extra)-4 {
		return subfield{}, nil
	}
	return subfield{extra[0], extra[1]}, extra[4:]
}
