# frozen_string_literal: true

# Classes that have rooms.

module Admin
  class User; end
end

# Like a record: with its own to_param and JSON.
class Doc
  include NoDevent::Base

  attr_reader :to_param

  def initialize(param)
    @to_param = param
  end

  def to_json(*)
    %({"param":#{to_param.to_json}})
  end
end

# Overrides the names of its rooms.
class Custom < Doc
  def self.room
    "all-of-them"
  end

  def room
    "custom-#{to_param}"
  end
end
