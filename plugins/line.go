package plugins

const compactLineAt = 256

// line is flights that wait, the oldest first.
type line struct {
	list []flight
	head int
}

func (l *line) len() int { return len(l.list) - l.head }

func (l *line) push(f flight) { l.list = append(l.list, f) }

// pop takes the oldest; there must be one.
func (l *line) pop() flight {
	f := l.list[l.head]
	l.list[l.head] = flight{}
	l.head++
	if l.head == len(l.list) {
		l.list, l.head = l.list[:0], 0
	} else if l.head >= compactLineAt && l.head*2 >= len(l.list) {
		l.list, l.head = append(l.list[:0], l.list[l.head:]...), 0
	}
	return f
}

// all are those that wait, in the memory of the line.
func (l *line) all() []flight { return l.list[l.head:] }

// filter keeps those that keep wants.
func (l *line) filter(keep func(*flight) bool) {
	kept := l.list[:0]
	for _, f := range l.all() {
		if keep(&f) {
			kept = append(kept, f)
		}
	}
	clear(l.list[len(kept):])
	l.list, l.head = kept, 0
}
