// The line buffer of Plugin_Remote: bytes to lines and sound, with all its faults. See client.cpp.

#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

constexpr int BUFFER_SIZE = 8192;
// "SND" and four characters: seen before anything that begins with S is judged.
constexpr int SOUND_HEAD = 7;
// An echo is cut here; longer lines overrun a buffer of the real one, and beyond the second number crash it.
constexpr int MAX_ECHO = 2047;
constexpr int MAX_SURVIVED = 4097;

inline void report(const std::string &kind, const std::string &text = "")
{
    static std::mutex mutex;  // Two threads report.
    std::lock_guard<std::mutex> lock(mutex);
    std::string line = kind + (text.empty() ? "" : " " + text) + "\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
}

[[noreturn]] inline void crash(const std::string &reason)
{
    report("crash", reason);
    std::_Exit(3);
}

inline bool starts_with(const std::string &text, const std::string &head)
{
    return text.compare(0, head.size(), head) == 0;
}

// What waits to be sent. Lines come from the input and from the echo.
class Outbox {
public:
    void set_connected(bool connected)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        connected_ = connected;
    }

    // Nothing is queued without a connection. What was queued before survives a reconnect.
    bool put(const std::string &text)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (connected_)
            waiting_.push_back(text);
        return connected_;
    }

    std::optional<std::string> take()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (waiting_.empty())
            return std::nullopt;
        std::string text = waiting_.front();
        waiting_.pop_front();
        return text;
    }

private:
    std::mutex mutex_;
    std::deque<std::string> waiting_;
    bool connected_ = false;
};

// The bytes received and not yet understood. It outlives a connection, with whatever is in it.
//
// Not cleared behind what it holds: those old bytes are looked at too, as the real one does.
class LineBuffer {
public:
    explicit LineBuffer(Outbox &outbox) : outbox_(outbox) {}

    char *room() { return bytes_.data() + held_; }
    int room_size() const { return BUFFER_SIZE - 1 - held_; }

    // So many bytes were put into the room.
    void received(int size)
    {
        held_ += size;
        while (held_ > 0 && take_one())
            ;
    }

private:
    static bool is_newline(char byte) { return byte == '\n' || byte == '\r'; }

    // By its first byte; 0 for a byte that begins none.
    static int character_size(unsigned char lead)
    {
        if (lead < 0x80)
            return 1;
        if (lead < 0xC2 || lead > 0xFD)
            return 0;
        return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : lead < 0xFC ? 5 : 6;
    }

    // False when more bytes are needed.
    bool take_one()
    {
        if (bytes_[0] == 'S') {
            if (held_ < SOUND_HEAD)
                return false;
            if (bytes_[1] == 'N' && bytes_[2] == 'D')
                return take_sound();
        }
        return take_line();
    }

    bool take_sound()
    {
        std::string word(bytes_.data() + 3, 4);
        if (word == "STRM" || word == "FILE" || word == "BRKS") {
            report("sound", "SND" + word);
            int end = SOUND_HEAD;
            if (end + 1 < held_ && bytes_[end] == '\r' && bytes_[end + 1] == '\n')
                end += 2;
            else if (end < held_ && bytes_[end] == '\n')
                end += 1;
            drop(end);
            return true;
        }
        int size = std::atoi(word.c_str());
        if (SOUND_HEAD + size >= BUFFER_SIZE)
            become_deaf();
        if (size < 0 || held_ < SOUND_HEAD + size)
            return false;
        report("audio", std::to_string(size));
        drop(SOUND_HEAD + size);
        return true;
    }

    bool take_line()
    {
        // Text ends at a NUL, and the first word of it may have newlines before it.
        const auto begin = bytes_.begin();
        const int end = std::find(begin, begin + held_, '\0') - begin;
        const int start = std::find_if_not(begin, begin + end, is_newline) - begin;
        if (start == end && start > 0)
            crash("a newline without a line");
        int stop = start;
        while (stop < end && !is_newline(bytes_[stop])) {
            int size = character_size(bytes_[stop]);
            if (size == 0)
                crash("spins on a byte that begins no character");
            stop = std::min(stop + size, end);
        }
        // Looked for where the line would end without those newlines: so they spoil everything.
        const int size = stop - start;
        if (!is_newline(bytes_[size])) {
            if (start > 0 || end < held_)
                become_deaf();
            return false;
        }
        issue(std::string(bytes_.data() + start, size));
        drop(std::find_if_not(begin + size, bytes_.end(), is_newline) - begin);
        return true;
    }

    void issue(std::string line)
    {
        static const std::string WRAPPER = "__AV_MESSAGE,";
        if (starts_with(line, WRAPPER)) {
            line.erase(0, WRAPPER.size());
            if (line.empty())
                return;
        } else if (starts_with(line, "__AV")) {
            report("avatar", line);
            return;
        }
        report("line", line);
        if (line.size() + 1 > MAX_SURVIVED)
            crash("a line of " + std::to_string(line.size() + 1) + " bytes");
        if (starts_with(line, "RECOG_RECORD_"))
            return;
        // One empty last field is dropped.
        if (!line.empty() && line.back() == '|')
            line.pop_back();
        line += "\n";
        outbox_.put(line.substr(0, MAX_ECHO));
    }

    void drop(int size)
    {
        std::copy(bytes_.begin() + size, bytes_.end(), bytes_.begin());
        held_ = std::max(held_ - size, 0);
    }

    void become_deaf()
    {
        if (!deaf_)
            report("deaf");
        deaf_ = true;
    }

    Outbox &outbox_;
    std::array<char, BUFFER_SIZE> bytes_{};
    int held_ = 0;
    bool deaf_ = false;
};
