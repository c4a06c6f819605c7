# frozen_string_literal: true

# Classes that stand in a room.

module Admin
  class User; end
end

# As a record: with a to_param and a JSON of its own.
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

# Its rooms have names of the application's choice.
class Custom < Doc
  def self.room
    "all-of-them"
  end

  def room
    "custom-#{to_param}"
  end
end
