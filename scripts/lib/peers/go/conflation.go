package main

// The newest values of an interval in one message for each watcher, by the application itself.

type symbol struct {
	topic string
	// The stamp of the oldest update since the last flush; "": none came.
	oldest, newest string
	data, text     []byte
}

type conflation struct {
	symbols map[string]*symbol
	changed []*symbol
}

func (c *conflation) symbol(topic string) *symbol {
	s := c.symbols[topic]
	if s == nil {
		s = &symbol{topic: topic}
		c.symbols[topic] = s
	}
	return s
}

// take has an update come in.
func (c *conflation) take(stamp, topic string, data []byte) {
	s := c.symbol(topic)
	if s.oldest == "" {
		s.oldest = stamp
		c.changed = append(c.changed, s)
	}
	s.newest, s.data = stamp, append(s.data[:0], data...)
}

// watch is what flush wants of one who watches these topics.
func (c *conflation) watch(topics []string) []*symbol {
	watched := make([]*symbol, len(topics))
	for at, topic := range topics {
		watched[at] = c.symbol(topic)
	}
	return watched
}

// flush calls send with the message of each watcher that something changed for.
func (c *conflation) flush(watchers map[*client]struct{}, send func(*client, []byte)) {
	for _, s := range c.changed {
		s.text = append(append(append(s.text[:0], `{"topic":"`...), s.topic...), `","ts":`...)
		s.text = append(append(append(append(s.text, s.newest...), `,"data":`...), s.data...), '}')
	}
	for watcher := range watchers {
		length, oldest := 0, ""
		for _, s := range watcher.watched {
			if s.oldest != "" {
				length += len(s.text) + 1
				if oldest == "" || s.oldest < oldest {
					oldest = s.oldest
				}
			}
		}
		if length == 0 {
			continue
		}
		message := make([]byte, 0, length+48)
		message = append(append(append(message, `{"oldest":`...), oldest...), `,"updates":[`...)
		for _, s := range watcher.watched {
			if s.oldest != "" {
				message = append(append(message, s.text...), ',')
			}
		}
		send(watcher, append(message[:len(message)-1], "]}"...))
	}
	for _, s := range c.changed {
		s.oldest = ""
	}
	c.changed = c.changed[:0]
}
