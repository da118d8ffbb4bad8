// A queue that owns no memory while it is empty. std::deque keeps over 500 bytes even then, and every
// slot of the flow table has two queues.
#pragma once

#include <cstddef>
#include <vector>

namespace netproxy::tcp {

template <typename T>
class Fifo {
 public:
  bool empty() const { return head_ == items_.size(); }
  size_t size() const { return items_.size() - head_; }
  T& front() { return items_[head_]; }
  const T& front() const { return items_[head_]; }
  T& back() { return items_.back(); }
  T& operator[](size_t at) { return items_[head_ + at]; }
  const T& operator[](size_t at) const { return items_[head_ + at]; }
  auto begin() { return items_.begin() + static_cast<ptrdiff_t>(head_); }
  auto end() { return items_.end(); }
  auto begin() const { return items_.begin() + static_cast<ptrdiff_t>(head_); }
  auto end() const { return items_.end(); }

  void push_back(T item) { items_.push_back(std::move(item)); }
  void pop_back() { items_.pop_back(); }
  void pop_front() {
    items_[head_] = T{};
    ++head_;
    if (empty()) {
      clear();
    } else if (head_ >= kCompact && head_ * 2 >= items_.size()) {
      items_.erase(items_.begin(), begin());
      head_ = 0;
    }
  }
  // Few items' memory is kept, so that a dialogue does not allocate for each word.
  void clear() {
    items_.clear();
    head_ = 0;
    if (items_.capacity() > kKeep) std::vector<T>().swap(items_);
  }
  void release() {
    std::vector<T>().swap(items_);
    head_ = 0;
  }

 private:
  static constexpr size_t kCompact = 32;
  static constexpr size_t kKeep = 4;

  std::vector<T> items_;
  size_t head_ = 0;
};

}  // namespace netproxy::tcp
