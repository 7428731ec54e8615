package archive

// How the records of earlier commits are carried from one archive to the next without decoding
// them. docs/format.md specifies the layout.

// past are the commits before the last one, newest first, in their stored form.
type past struct {
	ids  string // idBytes each, followed by the id of the oldest one's parent; "" without commits
	rows string
}

// maxPast is the maximum size of the rows of a log, bytes. Beyond it the oldest commits are
// dropped, as beyond MaxLog.
const maxPast = 4 << 20

func (p *past) len() int { return max(0, len(p.ids)/idBytes-1) }

// id returns the id of commit i; that of the oldest one's parent for len.
func (p *past) id(i int) CommitID { return commitIDOf(p.ids[i*idBytes:][:idBytes]) }

func (p *past) has(id CommitID) bool {
	b, err := id.bytes()
	for i := range p.len() {
		if err == nil && p.ids[i*idBytes:][:idBytes] == string(b) {
			return true
		}
	}
	return false
}

// push returns the past with one more commit, without those beyond the limits. Only the first
// of the existing rows changes.
func (p *past) push(r *Record) (past, error) {
	ids, err := r.appendIDs(nil)
	if err != nil {
		return past{}, err
	}
	rows, err := appendRow(nil, r, &noRow)
	if err != nil {
		return past{}, err
	}
	n := p.len()
	if n == 0 {
		return cut(string(ids), string(rows)), nil
	}
	first, rest, err := cutRow(p.rows)
	if err != nil {
		return past{}, err
	}
	second := noRow
	if err := second.apply(first); err != nil {
		return past{}, err
	}
	if rows, err = appendRow(rows, &second, r); err != nil {
		return past{}, err
	}
	return cut(string(ids[:idBytes])+p.ids, string(rows)+rest), nil
}

// cut drops the oldest commits until the rest are within the limits. Preconditions: the rows
// are well-formed.
func cut(ids, rows string) past {
	n := 0
	rest := rows
	for n < MaxLog && rest != "" {
		_, more, err := cutRow(rest)
		if err != nil || len(rows)-len(more) > maxPast {
			break
		}
		rest = more
		n++
	}
	if n == 0 {
		return past{}
	}
	return past{ids: ids[:(n+1)*idBytes], rows: rows[:len(rows)-len(rest)]}
}

// each calls fn for every commit, newest first, until it returns false. The row is fn's until
// it returns; in it Dropped says that there was a result, and the ids are not set. The error
// is errRow.
func (p *past) each(fn func(i int, row *Record) bool) error {
	row := noRow
	rest := p.rows
	for i := range p.len() {
		var fields string
		var err error
		if fields, rest, err = cutRow(rest); err != nil {
			return err
		}
		if err := row.apply(fields); err != nil {
			return err
		}
		if !fn(i, &row) {
			return nil
		}
	}
	if rest != "" {
		return errRow
	}
	return nil
}
